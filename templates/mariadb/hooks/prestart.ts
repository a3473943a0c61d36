/**
 * Whether this node could run MariaDB, before it has to.
 */
import { defineHook } from "holdfast";
import { checkNode } from "../lib/node_check.ts";

export default defineHook(async ({ vars }) => {
  await checkNode({
    programs: [vars.bin!, "/usr/bin/mariadb-install-db"],
    user: vars.user!,
    unit: "mariadb.service",
  });
});
