/**
 * What the scale campaign runs on a node: `bun scale_tree.ts make|operations|probe …`. Plain node:fs, no package, no module beside it.
 *
 * The tree: directories of a thousand files each, and one directory with a tenth of all.
 */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";

const IN_DIRECTORY = 1000;
/** How often each operation is made, for its mean. */
const ROUNDS = 2000;
/** A probe that took longer is told, ms. */
const TOLD_MS = 10;
const content = Buffer.alloc(100, "holdfast ");

/** Fills `directory` with `count` files. */
function make(directory: string, count: number): void {
  const crowd = Math.floor(count / 10);
  mkdirSync(`${directory}/crowd`, { recursive: true });
  for (let file = 0; file < crowd; file++) writeFileSync(`${directory}/crowd/file-${file}`, content);
  for (let file = 0; file < count - crowd; file++) {
    const below = `${directory}/dirs/d${Math.floor(file / IN_DIRECTORY)}`;
    if (file % IN_DIRECTORY === 0) mkdirSync(below, { recursive: true });
    writeFileSync(`${below}/file-${file % IN_DIRECTORY}`, content);
  }
}

/** Microseconds of each operation, the median of many, each in a directory of its own below `directory`. */
function operations(directory: string): Record<string, number> {
  mkdirSync(directory);
  const times = new Map<string, number[]>();
  const timed = (name: string, act: () => void): void => {
    const began = performance.now();
    act();
    const took = (performance.now() - began) * 1000;
    times.set(name, [...(times.get(name) ?? []), took]);
  };
  for (let round = 0; round < ROUNDS; round++) {
    const path = `${directory}/f${round}`;
    let fd = -1;
    timed("create+write", () => {
      fd = openSync(path, "wx");
      writeSync(fd, content);
    });
    timed("fsync", () => {
      fsyncSync(fd);
    });
    closeSync(fd);
    timed("stat", () => statSync(path));
    timed("rename", () => {
      renameSync(path, `${path}.new`);
    });
    timed("unlink", () => {
      unlinkSync(`${path}.new`);
    });
  }
  const median = (list: number[]): number => Math.round(list.sort((a, b) => a - b)[list.length >> 1]!);
  return Object.fromEntries([...times].map(([name, list]) => [name, median(list)]));
}

/** Makes and removes a file again and again, and tells how long the slowest took. */
async function probe(path: string): Promise<void> {
  for (;;) {
    const began = performance.now();
    try {
      writeFileSync(path, content);
      unlinkSync(path);
    } catch {
      // Not served now: stops and starts are measured elsewhere.
      await Bun.sleep(50);
      continue;
    }
    const took = performance.now() - began;
    if (took > TOLD_MS) process.stdout.write(`${JSON.stringify({ took })}\n`);
    await Bun.sleep(4);
  }
}

const [what = "", path = "", count = ""] = process.argv.slice(2);
if (what === "make") make(path, Number(count));
else if (what === "operations") console.log(JSON.stringify(operations(path)));
else if (what === "probe") await probe(path);
