/**
 * Times one thing again and again, on a node: `bun latency_probe.ts sync FILE SECONDS` (4 KiB written and fsynced), `bun latency_probe.ts answer SOCKET SECONDS`
 * (GET /status of what listens there), or `bun latency_probe.ts listen SOCKET` (answers, and does nothing else). Prints all figures at its end.
 */
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";

/** What was measured: when each began (ms since 1970) and how long it took, ms. */
export interface Samples {
  at: number[];
  took: number[];
}

const BLOCKS = 4096;
/** From the end of one to the beginning of the next, ms. */
const PAUSE = { sync: 8, answer: 20 };
/** What everybody prepares at the same time is over by then, ms. */
const SETTLED = 2000;
/** An answer that takes longer is an error, not a figure, ms. */
const PATIENCE = 30_000;

async function repeat(seconds: number, pause: number, once: () => void | Promise<void>): Promise<Samples> {
  await Bun.sleep(SETTLED);
  const samples: Samples = { at: [], took: [] };
  for (const end = performance.now() + seconds * 1000; performance.now() < end; ) {
    const began = performance.now();
    await once();
    samples.at.push(Math.round(performance.timeOrigin + began));
    samples.took.push(Math.round((performance.now() - began) * 1000) / 1000);
    await Bun.sleep(pause);
  }
  return samples;
}

async function sync(file: string, seconds: number): Promise<Samples> {
  const block = new Uint8Array(4096).fill(120);
  const fd = openSync(file, "w+");
  for (let i = 0; i < BLOCKS; i++) writeSync(fd, block, 0, block.length, i * block.length);
  fsyncSync(fd);
  const samples = await repeat(seconds, PAUSE.sync, () => {
    writeSync(fd, block, 0, block.length, Math.floor(Math.random() * BLOCKS) * block.length);
    fsyncSync(fd);
  });
  closeSync(fd);
  return samples;
}

if (import.meta.main) {
  const [what, place = "", seconds = ""] = process.argv.slice(2);
  if (what === "listen") Bun.serve({ unix: place, fetch: () => Response.json({ version: 1 }) });
  else {
    const ask = async (): Promise<void> => {
      const answer = await fetch("http://localhost/status", {
        unix: place,
        signal: AbortSignal.timeout(PATIENCE),
      });
      await answer.arrayBuffer();
    };
    const measured =
      what === "sync" ? sync(place, Number(seconds)) : repeat(Number(seconds), PAUSE.answer, ask);
    console.log(JSON.stringify(await measured));
  }
}
