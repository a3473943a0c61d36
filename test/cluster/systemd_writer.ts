/**
 * The application of the systemd tests: `systemd_writer.ts DATA RECORD`. Again and again it opens DATA/journal, appends a numbered line, syncs and
 * closes it; in between it holds nothing, as an application does that umount(8) does not find busy. What was synced goes to RECORD/acknowledged.
 * Whenever DATA is not the file system that it was at the start, RECORD/bare says so. While RECORD/quiet is there, it touches nothing, and says
 * RECORD/idle.
 */
import {
  appendFileSync,
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  openSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

const [data, record] = process.argv.slice(2) as [string, string];
const PAUSE_MS = 20;

try {
  const { dev } = statSync(data);
  for (let number = 1; ; Bun.sleepSync(PAUSE_MS)) {
    if (existsSync(join(record, "quiet"))) {
      appendFileSync(join(record, "idle"), "");
      continue;
    }
    const journal = openSync(join(data, "journal"), "a");
    const line = `${number++}\n`;
    if (fstatSync(journal).dev !== dev) appendFileSync(join(record, "bare"), line);
    writeSync(journal, line);
    fsyncSync(journal);
    closeSync(journal);
    appendFileSync(join(record, "acknowledged"), line);
  }
} catch (error) {
  appendFileSync(join(record, "failed"), `${(error as Error).message}\n`);
  process.exit(1);
}
