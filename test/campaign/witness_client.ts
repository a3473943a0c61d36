/**
 * The client of the witness campaign: `bun witness_client.ts LOG QUIET ADDRESS PORT` sends one number after the other, and writes down when it was sent and when it was
 * acknowledged, by whom. A number that was not acknowledged in time is not sent again: nobody knows what became of it. While the file QUIET exists, it sends nothing.
 */
import { appendFileSync, existsSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { sharedClock } from "../../core/platform/shared_clock.ts";

const [log, quiet, address, port] = process.argv.slice(2) as [string, string, string, string];
const PATIENCE_MS = 700;
const PAUSE_MS = 40;

/** A connection, made anew when the last has failed. */
let open = null as Socket | null;

async function connected(): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect({ host: address, port: Number(port) });
  const late = setTimeout(() => socket.destroy(), PATIENCE_MS);
  socket.on("error", () => undefined).once("connect", () => resolve(socket));
  socket.once("close", () => reject(new Error("closed")));
  try {
    return await promise;
  } finally {
    clearTimeout(late);
  }
}

/** Who acknowledged it. Rejects when nobody does in time. */
async function send(number: number): Promise<string> {
  if (open === null || open.destroyed) open = await connected();
  const socket = open;
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const fail = (): void => reject(new Error("no answer"));
  let heard = "";
  const hear = (bytes: Buffer): void => {
    heard += bytes.toString();
    if (!heard.endsWith("\n")) return;
    const [which, name] = heard.trim().split(" ") as [string, string];
    if (Number(which) === number) resolve(name);
    else fail();
  };
  socket.on("data", hear).once("close", fail);
  const late = setTimeout(fail, PATIENCE_MS);
  appendFileSync(log, `sent ${number} ${sharedClock()}\n`);
  socket.write(`${number}\n`);
  try {
    return await promise;
  } finally {
    clearTimeout(late);
    socket.off("data", hear).off("close", fail);
  }
}

for (let number = 1; ; ) {
  await Bun.sleep(PAUSE_MS);
  if (existsSync(quiet)) continue;
  try {
    const name = await send(number);
    appendFileSync(log, `acknowledged ${number} ${sharedClock()} ${name}\n`);
  } catch {
    open?.destroy();
    open = null;
  }
  number++;
}
