/**
 * The application of the witness campaign: `bun witness_server.ts JOURNAL RECORD NODE ADDRESS PORT`.
 *
 * Who connects to the virtual address sends numbers; each is written to the journal and synced before it is acknowledged, with the name of this process. It also
 * writes for itself, so that a node that nobody reaches is seen to run, too. RECORD lies outside the nodes: what it holds of `acknowledged` had been confirmed by an fsync.
 */
import {
  appendFileSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { sharedClock } from "../../core/platform/shared_clock.ts";

const [file, record, node, address, port] = process.argv.slice(2) as [string, string, string, string, string];
const EVERY_MS = 50;
const name = `${node}.${Math.round(sharedClock())}`;

function end(error: unknown): never {
  appendFileSync(join(record, `${node}.server`), `${name}: ${(error as Error).message}\n`);
  process.exit(1);
}

process.on("uncaughtException", end);
const journal = openSync(file, "a+");
const whole = readFileSync(file, "utf8");
// The last line may be half there: nobody was promised it.
ftruncateSync(journal, Buffer.byteLength(whole.slice(0, whole.lastIndexOf("\n") + 1)));

/** Blocks until it is durable. */
function keep(what: string): void {
  const begin = sharedClock();
  writeSync(journal, `${what} ${name}\n`);
  fsyncSync(journal);
  appendFileSync(join(record, "acknowledged"), `${begin} ${sharedClock()} ${what} ${name}\n`);
}

Bun.listen<{ rest: string }>({
  hostname: address,
  port: Number(port),
  socket: {
    open: (socket) => {
      socket.data = { rest: "" };
    },
    data: (socket, bytes) => {
      const numbers = (socket.data.rest + bytes.toString()).split("\n");
      socket.data.rest = numbers.pop()!;
      for (const number of numbers) {
        try {
          keep(`c${number}`);
        } catch (error) {
          end(error);
        }
        socket.write(`${number} ${name}\n`);
      }
    },
  },
});

let own = 0;
setInterval(() => {
  if (!existsSync(join(record, "quiet"))) keep(`t${++own}`);
}, EVERY_MS);
