/** Everything about an object but its bytes, as text that both copies compose alike. */
import { createHash } from "node:crypto";
import { S_IFDIR, S_IFLNK, S_IFMT } from "../../platform/linux/constants.ts";
import { errnoName } from "../../platform/linux/errno.ts";
import type { Entry } from "../../replication/names.ts";
import { Frame } from "../../replication/operation.ts";
import { readAttributes, readTarget, readXattrs } from "../objects/attributes.ts";
import { STAT, STX_CTIME, STX_NLINK, scratch } from "../objects/places.ts";

/** Names that are told one by one, so that what differs can be said. Of more only what they come to: they could be millions. */
const MOST_TOLD = 4096;
const HASH_BYTES = 32;
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

/** Lines `what: value`, of a directory without its names. */
export function describe(fd: number): string {
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
  return lines.join("\n");
}

function targetOf(fd: number): string {
  const target = readTarget(fd);
  if (typeof target === "number") return unreadable("target", target);
  return `target: ${JSON.stringify(Buffer.from(target).toString("latin1"))}`;
}

/** A directory that is described while it is listed, a little at a time. */
export class DirectoryDescription {
  readonly #fd: number;
  readonly #changedAt: string;
  #lines: string[] = [];
  #count = 0;
  /** Of all names but those in `#lines`: their hashes, one xor the other, since no two copies list them in the same order. */
  readonly #sum = new Uint8Array(HASH_BYTES);

  /** `fd`: the open directory, which stays the caller's. The listing begins after this. */
  constructor(fd: number) {
    this.#fd = fd;
    this.#changedAt = changeTimeOf(fd);
  }

  /** Some of its names. */
  add(entries: readonly Entry[]): void {
    for (const { name, type, id } of entries)
      this.#lines.push(`name ${JSON.stringify(name)}: type ${type} identity ${id.toString(16)}`);
    this.#count += entries.length;
    if (this.#count <= MOST_TOLD) return;
    for (const line of this.#lines) {
      const hash = createHash("sha256").update(line).digest();
      for (let at = 0; at < HASH_BYTES; at++) this.#sum[at]! ^= hash[at]!;
    }
    this.#lines = [];
  }

  /** Did the directory change since the listing began? Then what was listed are the names of no moment. */
  get isTorn(): boolean {
    return changeTimeOf(this.#fd) !== this.#changedAt;
  }

  /** All of it, as `describe`; `failed`: why it could not be listed, -errno, or 0. */
  text(failed: number): string {
    const lines = [describe(this.#fd)];
    if (failed !== 0) lines.push(unreadable("names", failed));
    else if (this.#count > MOST_TOLD)
      lines.push(`names: ${this.#count}, of the sum ${Buffer.from(this.#sum).toString("hex")}`);
    else lines.push(...this.#lines.sort());
    return lines.join("\n");
  }
}

function changeTimeOf(fd: number): string {
  if (readAttributes(fd, frame) < 0) return "unreadable";
  const { view } = scratch;
  return `${view.getBigInt64(STAT + STX_CTIME, true)}.${view.getUint32(STAT + STX_CTIME + 8, true)}`;
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
