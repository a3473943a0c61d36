/**
 * The demo's own comparison of the two replicas, on the disks behind the file systems: it trusts nothing of the product.
 */
import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";

/** Every name below `directory` with type, mode, size, mtime and content. The product's own folder is left out. */
export function fingerprint(directory: string, under = ""): Map<string, string> {
  const found = new Map<string, string>();
  for (const name of readdirSync(join(directory, under)).sort()) {
    if (under === "" && name === ".holdfast") continue;
    const path = join(under, name);
    const file = join(directory, path);
    const status = lstatSync(file, { bigint: true });
    const meta = `${status.mode.toString(8)} ${status.uid}:${status.gid} ${status.mtimeNs}`;
    if (status.isDirectory()) {
      found.set(path, meta);
      for (const [inner, value] of fingerprint(directory, path)) found.set(inner, value);
    } else {
      const content = status.isSymbolicLink() ? readlinkSync(file) : readFileSync(file);
      found.set(path, `${meta} ${status.size} ${createHash("sha256").update(content).digest("hex")}`);
    }
  }
  return found;
}

/** Names that differ between two fingerprints. */
export function differences(one: ReadonlyMap<string, string>, other: ReadonlyMap<string, string>): string[] {
  const names = new Set([...one.keys(), ...other.keys()]);
  return [...names].filter((name) => one.get(name) !== other.get(name));
}

/** Bytes of all files below `directory`. */
export function storedBytes(directory: string): number {
  let bytes = 0;
  for (const name of readdirSync(directory, { recursive: true, encoding: "utf8" })) {
    const status = lstatSync(join(directory, name));
    if (status.isFile()) bytes += status.size;
  }
  return bytes;
}
