/**
 * Asks the demo's application to end. When it does not answer, it does not run, or the module's own kill gets it.
 */
import { defineHook, log } from "holdfast";

export default defineHook(async ({ vars }) => {
  try {
    await fetch(`http://${vars.address}:${vars.port}/`, {
      method: "DELETE",
      signal: AbortSignal.timeout(3000),
    });
  } catch (error) {
    log(`no answer from the application: ${(error as Error).message}`);
  }
});
