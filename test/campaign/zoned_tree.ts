/**
 * A tree of zones of 4 KiB for the reintegration campaign, as a program that runs on a node: `make DIR BYTES FILES SEED`, `rewrite DIR PART
 * SEED` (prints how many zones), `load DIR SEED` (rewrites zones for as long as it is let).
 *
 * A quarter of the bytes lies in one file, the rest in directories of a hundred files each.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { randomFrom } from "./random.ts";

/** Bytes of a zone. */
export const ZONE = 4096;
const FILES_PER_DIRECTORY = 100;
/** Random zones that files are made of. */
const STOCK_ZONES = 4096;

interface ZonedFile {
  path: string;
  zones: number;
}

/** Content that no zone had before, with all likelihood: a stretch from anywhere in random bytes. */
function makeStock(): (zones: number, random: () => number) => Uint8Array {
  const stock = new Uint8Array(STOCK_ZONES * ZONE);
  for (let at = 0; at < stock.length; at += 65_536) crypto.getRandomValues(stock.subarray(at, at + 65_536));
  return (zones, random) => {
    const from = Math.floor(random() * (stock.length - zones * ZONE));
    return stock.subarray(from, from + zones * ZONE);
  };
}

function writeZones(fd: number, first: number, bytes: Uint8Array): void {
  const written = writeSync(fd, bytes, 0, bytes.length, first * ZONE);
  if (written !== bytes.length) throw new Error(`wrote ${written} of ${bytes.length} bytes`);
}

function make(directory: string, bytes: number, files: number, random: () => number): void {
  const stretch = makeStock();
  const big = Math.floor(bytes / ZONE / 4);
  const rest = Math.floor(bytes / ZONE) - big;
  for (let file = 0; file < files; file++) {
    const parent = join(directory, file === 0 ? "." : `d${Math.floor(file / FILES_PER_DIRECTORY)}`);
    mkdirSync(parent, { recursive: true });
    const fd = openSync(join(parent, file === 0 ? "big" : `f${file}`), "wx");
    const zones =
      file === 0
        ? big
        : Math.floor((rest * file) / (files - 1)) - Math.floor((rest * (file - 1)) / (files - 1));
    for (let at = 0; at < zones; at += 256) writeZones(fd, at, stretch(Math.min(256, zones - at), random));
    closeSync(fd);
  }
}

function filesBelow(directory: string): ZonedFile[] {
  return readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && !entry.parentPath.includes("/.holdfast"))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => ({ path, zones: Math.floor(statSync(path).size / ZONE) }));
}

/** Rewrites a random part of all zones, each once, and syncs every file. Returns how many. */
function rewrite(directory: string, part: number, random: () => number): number {
  const stretch = makeStock();
  let rewritten = 0;
  for (const { path, zones } of filesBelow(directory)) {
    const chosen = Array.from({ length: zones }, (_, zone) => zone).filter(() => random() < part);
    if (chosen.length === 0) continue;
    const fd = openSync(path, "r+");
    for (const zone of chosen) writeZones(fd, zone, stretch(1, random));
    fsyncSync(fd);
    closeSync(fd);
    rewritten += chosen.length;
  }
  return rewritten;
}

/** Half of it into the big file, half into the others. */
function load(directory: string, random: () => number): never {
  const stretch = makeStock();
  const files = filesBelow(directory).toSorted((one, other) => other.zones - one.zones);
  for (;;) {
    const { path, zones } = files[random() < 0.5 ? 0 : Math.floor(random() * files.length)]!;
    const fd = openSync(path, "r+");
    for (let count = 0; count < 16; count++) writeZones(fd, Math.floor(random() * zones), stretch(1, random));
    closeSync(fd);
  }
}

if (import.meta.main) {
  const [what, directory = "", ...numbers] = process.argv.slice(2);
  const [first = 0, second = 0, third = 0] = numbers.map(Number);
  if (what === "make") make(directory, first, second, randomFrom(third));
  else if (what === "rewrite") console.log(rewrite(directory, first, randomFrom(second)));
  else if (what === "load") load(directory, randomFrom(first));
  else throw new Error(`what is "${what}"?`);
}
