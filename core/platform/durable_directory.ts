/**
 * Directories that are still there after a power cut: making one is not enough, the directory that names it must be synced.
 */
import { closeSync, fsyncSync, mkdirSync, openSync } from "node:fs";
import { dirname, resolve } from "node:path";

/** Makes the names in a directory durable. Throws. */
export function syncDirectory(directory: string): void {
  const fd = openSync(directory, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Makes a directory and what lacks above it (mode 0700), durably. Harmless when it is there. Throws. */
export function makeDirectoryDurably(directory: string): void {
  const target = resolve(directory);
  const first = mkdirSync(target, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = target; ; made = dirname(made)) {
    syncDirectory(dirname(made));
    if (made === first) return;
  }
}
