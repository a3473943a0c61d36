/** Everything about an object but its bytes, as text that both copies compose alike. */
import { S_IFDIR, S_IFLNK, S_IFMT } from "../platform/linux/constants.ts";
import { Frame } from "../replication/operation.ts";
import { readAttributes, readTarget, readXattrs } from "./attributes.ts";
import type { NameFilter } from "./exclusion.ts";
import type { Identities } from "./identity.ts";
import { listDirectory } from "./listing.ts";
import { STAT, STX_NLINK, scratch } from "./places.ts";

const frame = new Frame();

/** Lines `what: value`. `top`: the object is a replicated directory itself. */
export function describe(
  fd: number,
  identities: Identities,
  top: boolean,
  filter: NameFilter | null,
): string {
  if (readAttributes(fd, frame) < 0) return "unreadable: yes";
  const { mode } = frame;
  const type = mode & S_IFMT;
  const lines = [
    `mode: ${mode.toString(8)}`,
    `owner: ${frame.uid}:${frame.gid}`,
    `mtime: ${frame.mtime}.${String(frame.mtimeNanos).padStart(9, "0")}`,
    `size: ${frame.size}`,
    `device: ${frame.rdev}`,
    `flags: ${frame.flags}`,
  ];
  if (type !== S_IFDIR) lines.push(`links: ${scratch.view.getUint32(STAT + STX_NLINK, true)}`);
  const attributes = readXattrs(fd);
  if (typeof attributes === "number") lines.push("extended attributes: unreadable");
  else {
    for (const { name, value } of attributes) {
      lines.push(`extended attribute ${Buffer.from(name).toString()}: ${Buffer.from(value).toString("hex")}`);
    }
  }
  if (type === S_IFLNK) lines.push(`target: ${targetText(fd)}`);
  if (type === S_IFDIR) lines.push(...namesOf(fd, identities, top, filter));
  return lines.join("\n");
}

function targetText(fd: number): string {
  const target = readTarget(fd);
  return typeof target === "number" ? "unreadable" : Buffer.from(target).toString("latin1");
}

function namesOf(fd: number, identities: Identities, top: boolean, filter: NameFilter | null): string[] {
  const entries = listDirectory(fd, identities, top, filter);
  if (typeof entries === "number") return ["names: unreadable"];
  return entries
    .map(({ name, type, id }) => `name ${JSON.stringify(name)}: type ${type} identity ${id.toString(16)}`)
    .sort();
}

/** Which lines of two descriptions differ, for people. */
export function whatDiffers(mine: string, theirs: string): string {
  const own = new Set(mine.split("\n"));
  const other = new Set(theirs.split("\n"));
  const here = [...own].filter((line) => !other.has(line));
  const there = [...other].filter((line) => !own.has(line));
  const some = (lines: readonly string[]): string => lines.slice(0, 5).join(", ") || "nothing";
  return `here ${some(here)}; on the secondary ${some(there)}`;
}
