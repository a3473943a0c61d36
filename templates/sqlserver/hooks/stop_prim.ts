/**
 * Stops SQL Server: a checkpoint is written; forced, it is cut off and recovers at its next start.
 */
import { defineHook, log, service } from "holdfast";

export default defineHook(async ({ vars, force }) => {
  const server = service(vars.unit!, { timeout: force ? "30s" : "1d" });
  if ((await server.status()) === "inactive") {
    log("SQL Server does not run");
    return;
  }
  await server.stop({ force });
  log(`SQL Server stopped${force ? " (forced)" : ""}`);
});
