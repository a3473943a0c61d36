/**
 * Secrets of one run of a hook: files in memory, for that run alone. Never in the environment, arguments or the log.
 */
import {
  accessSync,
  constants,
  mkdirSync,
  readdirSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import process from "node:process";

const PLACES = ["/run", "/dev/shm"];
const PREFIX = "holdfast-secrets-";
/** statfs(2), linux/magic.h. */
const TMPFS = 0x01021994;
const RAMFS = 0x858458f6;

function inMemory(place: string): boolean {
  try {
    const { type } = statfsSync(place);
    accessSync(place, constants.W_OK);
    return type === TMPFS || type === RAMFS;
  } catch {
    return false;
  }
}

/** A directory in memory. Throws where there is none. */
export function placeInMemory(): string {
  const place = PLACES.find(inMemory);
  if (place !== undefined) return place;
  throw new Error(
    `secrets need a file system in memory, and none of ${PLACES.join(", ")} is one that can be written`,
  );
}

/** Makes a directory in memory, for its owner alone; harmless when it is there. Throws when it is another user's. */
export function makePrivately(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const { uid, mode } = statSync(directory);
  if (uid !== process.getuid?.() || (mode & 0o077) !== 0)
    throw new Error(`${directory} is not this user's alone: remove it`);
}

/** Values by name, as bytes or text. */
export type SecretValues = Readonly<Record<string, Uint8Array | string>>;

/** Writes them, mode 0400, into a new directory of the owner alone, below `parent`. Throws when there is no file system in memory. */
export function writeSecrets(secrets: SecretValues, parent = placeInMemory()): string {
  const directory = join(parent, `${PREFIX}${process.pid}-${crypto.randomUUID()}`);
  mkdirSync(directory, { mode: 0o700 });
  try {
    for (const [name, value] of Object.entries(secrets))
      writeFileSync(join(directory, name), value, { mode: 0o400, flag: "wx" });
  } catch (error) {
    rmSync(directory, { recursive: true, force: true });
    throw error;
  }
  return directory;
}

/** Removes what runs have left below `parent` whose daemon died before it could. */
export function removeLeftSecrets(parent: string): void {
  for (const name of readdirSync(parent))
    if (name.startsWith(PREFIX)) rmSync(join(parent, name), { recursive: true, force: true });
}
