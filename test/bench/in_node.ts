/**
 * Runs on a node: `bun in_node.ts WORK ARG…` does one piece of work and prints the one number that it measured. A process of its own, so that
 * entering the node is not measured.
 */
import { Database } from "bun:sqlite";
import { closeSync, fstatSync, fsyncSync, mkdirSync, openSync, writeSync } from "node:fs";
import { median } from "./report.ts";

/** Milliseconds for making so many files of 4 KiB, each on stable storage before the next. */
function smallFiles(directory: string, count: number): number {
  const content = new Uint8Array(4096).fill(120);
  const started = performance.now();
  mkdirSync(directory);
  for (let i = 0; i < count; i++) {
    const fd = openSync(`${directory}/${i}`, "wx");
    writeSync(fd, content);
    fsyncSync(fd);
    closeSync(fd);
  }
  return performance.now() - started;
}

/** Median microseconds of writing 4 KiB at a random place of a file that is there, and fsync. */
function syncedWrites(file: string, seconds: number): number {
  const content = new Uint8Array(4096).fill(120);
  const fd = openSync(file, "r+");
  const blocks = fstatSync(fd).size / content.length;
  const times: number[] = [];
  for (const end = performance.now() + seconds * 1000; performance.now() < end; ) {
    const started = performance.now();
    writeSync(fd, content, 0, content.length, Math.floor(Math.random() * blocks) * content.length);
    fsyncSync(fd);
    times.push((performance.now() - started) * 1000);
  }
  closeSync(fd);
  return median(times);
}

/** Transactions a second, of one row each. */
function sqlite(file: string, mode: string, seconds: number): number {
  const db = new Database(file, { create: true });
  db.run(`pragma journal_mode = ${mode}`);
  db.run("pragma synchronous = full");
  db.run("create table rows (id integer primary key, text text)");
  const insert = db.prepare("insert into rows (text) values (?)");
  const started = performance.now();
  let commits = 0;
  for (; performance.now() - started < seconds * 1000; commits++)
    insert.run("a row of an ordinary size, more or less");
  const rate = commits / ((performance.now() - started) / 1000);
  db.close();
  return rate;
}

/** Milliseconds that a command takes. */
function timed(...argv: string[]): number {
  const started = performance.now();
  const { exitCode, stderr } = Bun.spawnSync(argv, { stdout: "ignore", stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`${argv.join(" ")}: status ${exitCode}: ${stderr}`);
  return performance.now() - started;
}

const work: Record<string, (...args: string[]) => number> = {
  smallFiles: (directory, count) => smallFiles(directory!, Number(count)),
  syncedWrites: (file, seconds) => syncedWrites(file!, Number(seconds)),
  sqlite: (file, mode, seconds) => sqlite(file!, mode!, Number(seconds)),
  timed,
};
const [name = "", ...args] = process.argv.slice(2);
console.log(work[name]!(...args));
