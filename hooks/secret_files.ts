/**
 * Secrets of one run of a hook: files in memory, for that run alone. Never in the environment, arguments or the log.
 */
import { mkdirSync, readdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { LineSink } from "./output.ts";

/** The variable that names the directory (not what is in it). */
export const SECRETS_DIRECTORY = "HOLDFAST_SECRETS";

const PLACES = ["/run", "/dev/shm"];
const PREFIX = "holdfast-secrets-";
/** statfs(2), linux/magic.h. */
const TMPFS = 0x01021994;
const RAMFS = 0x858458f6;

function inMemory(place: string): boolean {
  try {
    const { type } = statfsSync(place);
    return type === TMPFS || type === RAMFS;
  } catch {
    return false;
  }
}

/** Directories of runs whose process died before it could remove them. */
function removeLeftovers(place: string): void {
  for (const name of readdirSync(place)) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (pid === undefined) continue;
    try {
      process.kill(Number(pid), 0);
    } catch {
      rmSync(join(place, name), { recursive: true, force: true });
    }
  }
}

/** Writes them, mode 0400, into a new directory of the owner alone. Throws when there is no file system in memory. */
export function writeSecrets(secrets: Readonly<Record<string, string>>): string {
  const place = PLACES.find(inMemory);
  if (place === undefined)
    throw new Error(`secrets need a file system in memory, and none of ${PLACES.join(", ")} is one`);
  removeLeftovers(place);
  const directory = join(place, `${PREFIX}${process.pid}-${crypto.randomUUID()}`);
  mkdirSync(directory, { mode: 0o700 });
  for (const [name, value] of Object.entries(secrets))
    writeFileSync(join(directory, name), value, { mode: 0o400, flag: "wx" });
  return directory;
}

/** Shorter lines of a secret would blank out half of the log, and hide nothing. */
const SHORTEST = 3;

/** A sink of lines in which the secrets' values, and the lines of longer ones, are stars. */
export function masking(secrets: Readonly<Record<string, string>>, sink: LineSink): LineSink {
  const hidden = Object.values(secrets)
    .flatMap((value) => [value, ...value.split("\n")])
    .map((text) => text.trim())
    .filter((text) => text.length >= SHORTEST)
    .sort((a, b) => b.length - a.length);
  if (hidden.length === 0) return sink;
  return (line) => sink(hidden.reduce((shown, text) => shown.replaceAll(text, "***"), line));
}
