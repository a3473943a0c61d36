/**
 * The application of the life tests: `life_writer.ts DATA RECORD NODE` appends numbered lines to DATA/journal, and to RECORD/acknowledged
 * only what an fsync had confirmed. The record lies outside the nodes: what it holds, somebody was promised.
 */
import { appendFileSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";

const [data, record, node] = process.argv.slice(2) as [string, string, string];
const PAUSE_MS = 4;

try {
  const file = join(data, "journal");
  const journal = openSync(file, "a+");
  const whole = readFileSync(file, "utf8");
  const end = whole.lastIndexOf("\n") + 1;
  // The last line may be half there: nobody was promised it.
  ftruncateSync(journal, end);
  let number = Number(whole.slice(0, end).split("\n").at(-2)?.split(" ")[0] ?? 0);
  for (;;) {
    const line = `${++number} ${node}\n`;
    writeSync(journal, line);
    fsyncSync(journal);
    appendFileSync(join(record, "acknowledged"), line);
    Bun.sleepSync(PAUSE_MS);
  }
} catch (error) {
  appendFileSync(join(record, `${node}.application`), `${(error as Error).message}\n`);
  process.exit(1);
}
