/**
 * Does the server answer a query? A port that accepts connections would not tell: a server that hangs has one too.
 */
import { $, defineChecker } from "holdfast";

export default defineChecker(async ({ vars }) => {
  const { bin, user, sockets, port } = vars as Record<string, string>;
  await $`runuser -u ${user} -- ${bin}/psql -X -h ${sockets} -p ${port} -d postgres -Atc ${"select 1"}`
    .cwd("/")
    .quiet();
  return true;
});
