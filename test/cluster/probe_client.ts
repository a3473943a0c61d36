/**
 * What stands before a cluster in a cloud: `bun probe_client.ts watch RECORD ADDRESS…` asks each node without pause and writes every answer down;
 * `flood MS ADDRESS` is somebody who means harm, for that long.
 */
import { appendFileSync } from "node:fs";
import { connect } from "node:net";

/** One answer. Times are wall clock, ms. `status` 0: none, or not in time. */
export interface Answer {
  node: string;
  sent: number;
  received: number;
  status: number;
}

/** The port that the tests probe. */
export const PORT = 9503;
const PATIENCE_MS = 400;
const PAUSE_MS = 4;
const FLOODERS = 100;

const now = (): number => performance.timeOrigin + performance.now();

/** Asks once, over a connection of its own. */
function ask(address: string, path: string, patienceMs = PATIENCE_MS): Promise<number> {
  return new Promise((resolve) => {
    let heard = "";
    const socket = connect({ host: address, port: PORT });
    const end = (): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(Number(/^HTTP\/1\.1 (\d+) /.exec(heard)?.[1] ?? 0));
    };
    const timer = setTimeout(end, patienceMs);
    socket.on("connect", () => socket.write(`GET ${path} HTTP/1.1\r\nHost: ${address}\r\n\r\n`));
    socket.on("data", (chunk) => (heard += chunk.toString("latin1")));
    socket.on("error", end).on("close", end);
  });
}

async function watch(record: string, address: string): Promise<never> {
  for (;;) {
    const sent = now();
    const status = await ask(address, "/probe/db");
    const answer: Answer = { node: `n${address.split(".").pop()}`, sent, received: now(), status };
    appendFileSync(record, `${JSON.stringify(answer)}\n`);
    await Bun.sleep(PAUSE_MS);
  }
}

/** Connections that end, that stay, that never finish a request, that send too much. */
async function flood(address: string, ms: number): Promise<void> {
  const end = now() + ms;
  const noise = ["", "GET /probe/db HTTP/1.1\r\n", "A".repeat(60_000), "GET /probe/db HTTP/1.1\r\n\r\n"];
  const one = async (text: string): Promise<void> => {
    while (now() < end)
      await new Promise<void>((resolve) => {
        const socket = connect({ host: address, port: PORT }, () => {
          socket.write(text);
          setTimeout(() => socket.destroy(), 1);
        });
        socket.on("error", () => undefined).on("close", () => resolve());
      });
  };
  await Promise.all(Array.from({ length: FLOODERS }, (_, n) => one(noise[n % noise.length]!)));
}

if (import.meta.main) {
  const [what, first = "", ...addresses] = process.argv.slice(2);
  if (what === "watch") await Promise.all(addresses.map((address) => watch(first, address)));
  else if (what === "flood") await flood(addresses[0]!, Number(first));
  else console.log(await ask(first, addresses[0]!, 10 * PATIENCE_MS));
  process.exit(0);
}
