/**
 * Reads a zip file that nobody has vouched for, whole and in memory, or refuses it whole.
 *
 * The central directory says what is there; every local header must agree with it, no two entries may share bytes, and nothing is inflated
 * beyond what was announced and what the bounds allow. The format is PKWARE's APPNOTE 6.3.10, without zip64, encryption and spanning: no
 * package of a module needs them.
 */
import { crc32, inflateRawSync } from "node:zlib";
import { formatSize } from "../units.ts";

/** A package that cannot be used; the message says why. Nothing of it was kept. */
export class PackageInvalid extends Error {
  override name = "PackageInvalid";
}

/** One file of the archive. */
export interface ZipFile {
  content: Buffer;
  /** The owner may run it, as far as the archive says so. */
  executable: boolean;
}

/** Largest archive that is read, bytes. */
export const LIMIT_ARCHIVE = 16 * 1024 * 1024;
const LIMIT_FILES = 2000;
const LIMIT_FILE = 8 * 1024 * 1024;
const LIMIT_ALL = 24 * 1024 * 1024;
/** Text shrinks to a tenth; a file of one byte repeated to a thousandth. */
const LIMIT_RATIO = 200;
/** Below this, a ratio says nothing. */
const RATIO_COUNTS_FROM = 256 * 1024;
const LIMIT_PATH = 400;

const END = 0x06054b50;
const END_BYTES = 22;
const CENTRAL = 0x02014b50;
const CENTRAL_BYTES = 46;
const LOCAL = 0x04034b50;
const LOCAL_BYTES = 30;
const LIMIT_COMMENT = 0xffff;
const STORED = 0;
const DEFLATED = 8;
const FLAG_ENCRYPTED = 1;
const FLAG_PATCH = 1 << 5;
const FLAG_STRONG = 1 << 6;
const FLAG_MASKED = 1 << 13;
const MODE_KIND = 0o170_000;
const MODE_FILE = 0o100_000;
const MODE_DIRECTORY = 0o040_000;
const OWNER_MAY_RUN = 0o100;

/** True for what `readZip` can be asked to read. */
export function looksLikeZip(bytes: Uint8Array): boolean {
  const start = Buffer.from(bytes.subarray(0, 4)).toString("latin1");
  return start === "PK\x03\x04" || start === "PK\x05\x06";
}

interface Entry {
  name: string;
  directory: boolean;
  executable: boolean;
  method: number;
  crc: number;
  packed: number;
  size: number;
  offset: number;
}

/** A name as messages show it. */
function shown(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 79)}…` : name);
}

/** The files of an archive by name, directories left out. Throws PackageInvalid. */
export function readZip(bytes: Buffer): Map<string, ZipFile> {
  if (bytes.length > LIMIT_ARCHIVE)
    throw new PackageInvalid(`it is larger than ${formatSize(LIMIT_ARCHIVE)}`);
  const { start, entries } = readDirectory(bytes);
  checkNames(entries);
  checkSizes(entries);
  const spans: { from: number; to: number; name: string }[] = [];
  const files = new Map<string, ZipFile>();
  for (const entry of entries) {
    const data = locateData(bytes, entry, start);
    spans.push({ from: entry.offset, to: data.to, name: entry.name });
    if (entry.directory) continue;
    files.set(entry.name, {
      content: unpack(bytes.subarray(data.from, data.to), entry),
      executable: entry.executable,
    });
    // Checked as they come, before the next one is inflated: bytes that serve many entries are a bomb that no ratio shows.
    refuseOverlap(spans);
  }
  return files;
}

function refuseOverlap(spans: { from: number; to: number; name: string }[]): void {
  const last = spans.at(-1)!;
  const other = spans.find((span) => span !== last && span.from < last.to && last.from < span.to);
  if (other) throw new PackageInvalid(`${shown(other.name)} and ${shown(last.name)} share bytes`);
}

/** The entries of the central directory, and where it starts. */
function readDirectory(bytes: Buffer): { start: number; entries: Entry[] } {
  const end = findEnd(bytes);
  const count = bytes.readUInt16LE(end + 10);
  const size = bytes.readUInt32LE(end + 12);
  const start = bytes.readUInt32LE(end + 16);
  if (bytes.readUInt32LE(end + 4) !== 0 || bytes.readUInt16LE(end + 8) !== count)
    throw new PackageInvalid("it is one of several parts");
  if (count === 0xffff || size === 0xffff_ffff || start === 0xffff_ffff)
    throw new PackageInvalid("it is a zip64 archive, which no package needs to be");
  if (count > LIMIT_FILES)
    throw new PackageInvalid(`it holds ${count} entries; at most ${LIMIT_FILES} are read`);
  if (start + size !== end)
    throw new PackageInvalid(
      "its directory is not where its end says: it is damaged, or something was put around it",
    );
  const entries: Entry[] = [];
  let at = start;
  for (let i = 0; i < count; i++) {
    if (at + CENTRAL_BYTES > end || bytes.readUInt32LE(at) !== CENTRAL)
      throw new PackageInvalid("its directory is damaged");
    const next =
      at +
      CENTRAL_BYTES +
      bytes.readUInt16LE(at + 28) +
      bytes.readUInt16LE(at + 30) +
      bytes.readUInt16LE(at + 32);
    if (next > end) throw new PackageInvalid("its directory is damaged");
    entries.push(readEntry(bytes, at));
    at = next;
  }
  if (at !== end) throw new PackageInvalid("its directory holds more than it says");
  return { start, entries };
}

/** The end record: the one whose comment ends where the file ends. */
function findEnd(bytes: Buffer): number {
  for (let at = bytes.length - END_BYTES; at >= Math.max(0, bytes.length - END_BYTES - LIMIT_COMMENT); at--)
    if (bytes.readUInt32LE(at) === END && at + END_BYTES + bytes.readUInt16LE(at + 20) === bytes.length)
      return at;
  throw new PackageInvalid("it is no zip file, or its end is missing");
}

function readEntry(bytes: Buffer, at: number): Entry {
  const raw = bytes.subarray(at + CENTRAL_BYTES, at + CENTRAL_BYTES + bytes.readUInt16LE(at + 28));
  const name = nameOf(raw);
  const flags = bytes.readUInt16LE(at + 8);
  if ((flags & (FLAG_ENCRYPTED | FLAG_STRONG | FLAG_MASKED)) !== 0)
    throw new PackageInvalid(`${shown(name)} is encrypted`);
  if ((flags & FLAG_PATCH) !== 0) throw new PackageInvalid(`${shown(name)} is patched data, not a file`);
  const method = bytes.readUInt16LE(at + 10);
  if (method !== STORED && method !== DEFLATED)
    throw new PackageInvalid(
      `${shown(name)} is compressed by method ${method}; only stored and deflated are read`,
    );
  // The upper half is a Unix mode where the archive was made on such a system, 0 elsewhere.
  const mode = bytes.readUInt32LE(at + 38) >>> 16;
  const kind = mode & MODE_KIND;
  const directory = name.endsWith("/");
  if (kind !== 0 && kind !== (directory ? MODE_DIRECTORY : MODE_FILE))
    throw new PackageInvalid(
      `${shown(name)} is ${kind === 0o120_000 ? "a symbolic link" : "no ordinary file"}`,
    );
  return {
    name: directory ? name.slice(0, -1) : name,
    directory,
    executable: (mode & OWNER_MAY_RUN) !== 0,
    method,
    crc: bytes.readUInt32LE(at + 16),
    packed: bytes.readUInt32LE(at + 20),
    size: bytes.readUInt32LE(at + 24),
    offset: bytes.readUInt32LE(at + 42),
  };
}

function nameOf(raw: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(raw);
  } catch {
    throw new PackageInvalid(`${shown(raw.toString("latin1"))}: a name that is not UTF-8`);
  }
}

/** What is wrong with a name, or "". */
function nameProblem(name: string): string {
  if (name === "") return "an empty name";
  if (name.length > LIMIT_PATH) return `a name longer than ${LIMIT_PATH} characters`;
  if (name.startsWith("/") || /^[A-Za-z]:/.test(name)) return "an absolute name";
  if (name.includes("\\")) return "a backslash in a name";
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
  if (/[\0-\x1f\x7f]/.test(name)) return "a control character in a name";
  const parts = name.split("/");
  if (parts.includes("..")) return "a name that leaves the package";
  return parts.some((part) => part === "" || part === "." || Buffer.byteLength(part) > 255)
    ? "a name that is not in its shortest form"
    : "";
}

/** Refuses names that are no plain relative ones, that are there twice for some file system, or that are file and directory at once. */
function checkNames(entries: readonly Entry[]): void {
  const seen = new Map<string, Entry>();
  const folders = new Set<string>();
  for (const entry of entries) {
    const problem = nameProblem(entry.name);
    if (problem !== "") throw new PackageInvalid(`${shown(entry.name)}: ${problem}`);
    const key = entry.name.normalize("NFC").toLowerCase();
    if (seen.has(key))
      throw new PackageInvalid(
        `${shown(entry.name)} is there twice${seen.get(key)!.name === entry.name ? "" : " (but for case)"}`,
      );
    seen.set(key, entry);
    const parts = key.split("/");
    for (let depth = 1; depth < parts.length; depth++) folders.add(parts.slice(0, depth).join("/"));
  }
  for (const [key, entry] of seen)
    if (!entry.directory && folders.has(key))
      throw new PackageInvalid(`${shown(entry.name)} is a file and a directory`);
}

/** Bounds on what the archive announces; `unpack` holds each entry to it. */
function checkSizes(entries: readonly Entry[]): void {
  let all = 0;
  for (const { name, packed, size, directory } of entries) {
    if (directory && size > 0) throw new PackageInvalid(`${shown(name)} is a directory with content`);
    if (size > LIMIT_FILE)
      throw new PackageInvalid(`${shown(name)} is larger than ${formatSize(LIMIT_FILE)}`);
    if (size > RATIO_COUNTS_FROM && size > packed * LIMIT_RATIO)
      throw new PackageInvalid(
        `${shown(name)} unpacks to more than ${LIMIT_RATIO} times its size: a zip bomb`,
      );
    all += size;
    if (all > LIMIT_ALL) throw new PackageInvalid(`it unpacks to more than ${formatSize(LIMIT_ALL)}`);
  }
}

/** Where an entry's data lies, by its local header, which must agree with the directory. */
function locateData(bytes: Buffer, entry: Entry, directory: number): { from: number; to: number } {
  const { offset, name } = entry;
  const damaged = `${shown(name)}: its header does not agree with the directory`;
  if (offset + LOCAL_BYTES > directory || bytes.readUInt32LE(offset) !== LOCAL)
    throw new PackageInvalid(damaged);
  const nameEnd = offset + LOCAL_BYTES + bytes.readUInt16LE(offset + 26);
  const from = nameEnd + bytes.readUInt16LE(offset + 28);
  const to = from + entry.packed;
  if (to > directory) throw new PackageInvalid(damaged);
  const local = bytes.subarray(offset + LOCAL_BYTES, nameEnd).toString("utf8");
  if (local !== (entry.directory ? `${name}/` : name) || bytes.readUInt16LE(offset + 8) !== entry.method)
    throw new PackageInvalid(damaged);
  return { from, to };
}

function unpack(data: Buffer, { name, method, size, crc }: Entry): Buffer {
  let content: Buffer;
  try {
    content =
      method === STORED ? Buffer.from(data) : inflateRawSync(data, { maxOutputLength: Math.max(size, 1) });
  } catch {
    throw new PackageInvalid(`${shown(name)} is damaged, or unpacks to more than it says`);
  }
  if (content.length !== size || crc32(content) !== crc)
    throw new PackageInvalid(`${shown(name)} is damaged: it is not what the directory says`);
  return content;
}
