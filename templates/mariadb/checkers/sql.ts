/**
 * Does the server answer a query? A port that accepts connections would not tell: a server that hangs has one too.
 */
import { $, defineChecker } from "holdfast";

export default defineChecker(async ({ vars }) => {
  await $`mariadb --no-defaults --socket=${vars.run}/mysqld.sock --connect-timeout=5 -e ${"select 1"}`.quiet();
  return true;
});
