/**
 * One kind of ordinary load, on a node: `bun latency_load.ts KIND DIRECTORY SECONDS SEED`. It does a little, sleeps, and goes on until its time is over: the
 * machine is busy and never choked, and the same is asked of every directory.
 */
import {
  closeSync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { randomFrom } from "./random.ts";

const MIB = 1 << 20;
const [kind = "", parent = "", seconds = "", seed = ""] = process.argv.slice(2);
const random = randomFrom(Number(seed));
const below = (limit: number): number => Math.floor(random() * limit);
const bytes = new Uint8Array(MIB).map(() => below(256));
const home = `${parent}/${kind}`;
mkdirSync(home, { recursive: true });

/** Makes a file of this size, all of it written. */
function filled(name: string, mebibytes: number): number {
  const fd = openSync(`${home}/${name}`, "w+");
  for (let at = 0; at < mebibytes; at++) writeSync(fd, bytes, 0, MIB, at * MIB);
  fsyncSync(fd);
  return fd;
}

/** A kind's small step, and the pause after it, ms. */
interface Load {
  pause: number;
  step(turn: number): void;
}

const kinds: Record<string, () => Load> = {
  /** Writes files from end to end. */
  stream: () => ({
    pause: 30,
    step: (turn) => {
      const fd = openSync(`${home}/${Math.floor(turn / 32) % 4}`, turn % 32 === 0 ? "w" : "a");
      for (let i = 0; i < 4; i++) writeSync(fd, bytes, 0, 64 << 10);
      if (turn % 32 === 31) fsyncSync(fd);
      closeSync(fd);
    },
  }),
  /** Changes a big file here and there, as a database's writer does. */
  random: () => {
    const fd = filled("data", 64);
    return {
      pause: 20,
      step: (turn) => {
        for (let i = 0; i < 10; i++) writeSync(fd, bytes, 0, 4096, below(64 * 256) * 4096);
        if (turn % 50 === 49) fsyncSync(fd);
      },
    };
  },
  /** Appends to a log, synced each time. */
  append: () => {
    const fd = openSync(`${home}/log`, "a");
    return {
      pause: 25,
      step: (turn) => {
        writeSync(fd, bytes, 0, 100 + below(400));
        fdatasyncSync(fd);
        if (turn % 2000 === 1999) ftruncateSync(fd, 0);
      },
    };
  },
  /** Makes small files, renames some, removes the oldest. */
  create: () => ({
    pause: 40,
    step: (turn) => {
      for (let i = 0; i < 4; i++) {
        const name = turn * 4 + i;
        writeFileSync(`${home}/${name}.new`, bytes.subarray(0, below(16 << 10)));
        renameSync(`${home}/${name}.new`, `${home}/${name}`);
        if (name >= 800) unlinkSync(`${home}/${name - 800}`);
      }
    },
  }),
  /** Makes trees and removes them whole. */
  remove: () => ({
    pause: 500,
    step: (turn) => {
      const tree = `${home}/${turn}`;
      for (let d = 0; d < 5; d++) {
        mkdirSync(`${tree}/${d}`, { recursive: true });
        for (let f = 0; f < 8; f++) writeFileSync(`${tree}/${d}/${f}`, bytes.subarray(0, 2000));
      }
      if (turn >= 3) rmSync(`${home}/${turn - 3}`, { recursive: true });
    },
  }),
  /** Lists, looks at and reads what the others make. */
  read: () => ({
    pause: 50,
    step: () => {
      const directory = `${parent}/create`;
      let names: string[];
      try {
        names = readdirSync(directory);
      } catch {
        return; // Not there yet.
      }
      for (let i = 0; i < 10 && names.length > 0; i++) {
        const path = `${directory}/${names[below(names.length)]}`;
        try {
          if (statSync(path).size > 0) readFileSync(path);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
        }
      }
    },
  }),
};

const load = kinds[kind]!();
const end = performance.now() + Number(seconds) * 1000;
for (let turn = 0; performance.now() < end; turn++) {
  load.step(turn);
  await Bun.sleep(load.pause);
}
