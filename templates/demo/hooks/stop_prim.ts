/**
 * Asks the demo's application to end. When it does not answer, it does not run, or the module's own kill gets it.
 */
import { defineHook, log, waitFor } from "holdfast";

const ANSWER_MS = 1000;

export default defineHook(async ({ vars }) => {
  const url = `http://${vars.address}:${vars.port}/`;
  const answers = async (method: string) => {
    try {
      await fetch(url, { method, signal: AbortSignal.timeout(ANSWER_MS) });
      return true;
    } catch {
      return false;
    }
  };
  if (!(await answers("DELETE"))) log("no answer from the application");
  await waitFor(async () => !(await answers("GET")), {
    what: "the application's end",
    timeout: "5s",
    interval: "20ms",
  });
});
