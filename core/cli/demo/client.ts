/**
 * The demo's client: one row after the other through the virtual IP, each asked for until it is answered.
 *
 * It runs in a machine of its own, and tells on stdout what was acknowledged, one JSON object a line.
 */

/** What the client tells of one row. */
export interface Acknowledged {
  id: number;
  /** From the first attempt to the answer, ms. */
  waited: number;
  attempts: number;
}

const ATTEMPT_MS = 300;
const PAUSE_AFTER_FAILURE_MS = 20;

/** Posts rows to `http://ADDRESS:PORT/` for ever. */
export async function runClient(address: string, port: string): Promise<never> {
  for (let id = 1; ; id++) {
    const began = performance.now();
    let attempts = 1;
    while (!(await post(`http://${address}:${port}/`, id))) {
      attempts++;
      await Bun.sleep(PAUSE_AFTER_FAILURE_MS);
    }
    const told: Acknowledged = { id, waited: performance.now() - began, attempts };
    process.stdout.write(`${JSON.stringify(told)}\n`);
  }
}

/** True when the application acknowledged the row. Whatever else happens, the client asks again. */
async function post(url: string, id: number): Promise<boolean> {
  try {
    const response = await fetch(url, {
      method: "POST",
      body: JSON.stringify({ id, note: `order ${id}` }),
      signal: AbortSignal.timeout(ATTEMPT_MS),
      keepalive: false,
    });
    const answer = (await response.json()) as { kept?: number };
    return response.ok && answer.kept === id;
  } catch {
    return false;
  }
}
