/**
 * Starts SQL Server, and returns when it has recovered its databases.
 */
import { defineHook, log, service, waitFor } from "holdfast";
import { giveTo } from "../lib/owner.ts";
import { ask } from "../lib/sqlcmd.ts";

/** Databases that are being recovered, or could not be (sys.databases: RECOVERING, RECOVERY_PENDING, SUSPECT). */
const UNFINISHED = "select name + ' is ' + state_desc from sys.databases where state in (2, 3, 4)";

export default defineHook(async ({ vars }) => {
  const server = service(vars.unit!, { timeout: "1d" });
  if (await server.isActive()) log("SQL Server runs already");
  else {
    await giveTo(vars.user!, vars.data!);
    await server.start();
  }
  let unfinished = "";
  await waitFor(
    async () => {
      unfinished = await ask(vars, UNFINISHED);
      return !/ is RECOVERING$/m.test(unfinished);
    },
    { what: "SQL Server to recover its databases", timeout: "1d", interval: "500ms" },
  );
  // It serves the others all the same, and the peer's copy is the same: no takeover would mend this one.
  for (const database of unfinished.split("\n").filter(Boolean)) log.error(`database ${database}`);
  log("SQL Server answers queries");
});
