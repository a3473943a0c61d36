/** Does an address answer a ping? Three are sent within the time limit: one that is lost is no failure. */
import { openEcho } from "../../network/echo.ts";
import { down, type Probe, up } from "../probe.ts";

const TRIES = 3;

/** `timeoutMs` is the time limit of one look. */
export function pingProbe(address: string, timeoutMs: number): Probe {
  return {
    look: async (signal) => {
      const { promise, resolve, reject } = Promise.withResolvers<ReturnType<typeof up>>();
      const started = performance.now();
      const echo = openEcho(address, () => resolve(up(`${(performance.now() - started).toFixed(1)} ms`)));
      const ask = (): void => {
        try {
          echo.ask();
        } catch (error) {
          reject(error);
        }
      };
      const again = setInterval(ask, timeoutMs / TRIES);
      signal.addEventListener("abort", () => resolve(down(`${address} does not answer`)), { once: true });
      ask();
      try {
        return await promise;
      } finally {
        clearInterval(again);
        echo.close();
      }
    },
  };
}
