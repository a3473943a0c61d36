/** Everything about an object but its bytes, as text that both copies compose alike. */
import { S_IFDIR, S_IFLNK, S_IFMT } from "../platform/linux/constants.ts";
import { errnoName } from "../platform/linux/errno.ts";
import { Frame } from "../replication/operation.ts";
import { readAttributes, readTarget, readXattrs } from "./attributes.ts";
import type { NameFilter } from "./exclusion.ts";
import type { Identities } from "./identity.ts";
import { listDirectory } from "./listing.ts";
import { STAT, STX_NLINK, scratch } from "./places.ts";

const frame = new Frame();

/** The line that says what of an object this disk does not give. `result`: -errno. */
export const unreadable = (what: string, result: number): string =>
  `${UNREADABLE}${what}: ${errnoName(result)}`;
const UNREADABLE = "unreadable: ";

/** Which of such lines a description has. */
export function unreadableParts(description: string): { what: string; error: string }[] {
  const lines = description.split("\n").filter((line) => line.startsWith(UNREADABLE));
  return lines.map((line) => {
    const cut = line.lastIndexOf(": ");
    return { what: line.slice(UNREADABLE.length, cut), error: line.slice(cut + 2) };
  });
}

/** Lines `what: value`. `top`: the object is a replicated directory itself. */
export function describe(
  fd: number,
  identities: Identities,
  top: boolean,
  filter: NameFilter | null,
): string {
  const known = readAttributes(fd, frame);
  if (known < 0) return unreadable("attributes", known);
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
  if (typeof attributes === "number") lines.push(unreadable("extended attributes", attributes));
  else {
    for (const { name, value } of attributes) {
      const label = JSON.stringify(Buffer.from(name).toString());
      lines.push(`extended attribute ${label}: ${Buffer.from(value).toString("hex")}`);
    }
  }
  if (type === S_IFLNK) lines.push(targetOf(fd));
  if (type === S_IFDIR) lines.push(...namesOf(fd, identities, top, filter));
  return lines.join("\n");
}

function targetOf(fd: number): string {
  const target = readTarget(fd);
  if (typeof target === "number") return unreadable("target", target);
  return `target: ${JSON.stringify(Buffer.from(target).toString("latin1"))}`;
}

function namesOf(fd: number, identities: Identities, top: boolean, filter: NameFilter | null): string[] {
  const entries = listDirectory(fd, identities, top, filter);
  if (typeof entries === "number") return [unreadable("names", entries)];
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
