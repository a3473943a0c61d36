/**
 * A module's files on their way from a directory to every node: packed with bounds, unpacked all or nothing.
 */
import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { exchange } from "../core/platform/linux/exchange.ts";
import type { ClusterNames } from "./cross_checks.ts";
import { startsLikeProgram } from "./hook_files.ts";
import { ModuleInvalid, moduleNameProblem, readModule } from "./load.ts";
import { writeSdk } from "./sdk_files.ts";
import { formatSize } from "./units.ts";
import type { Problem } from "./yaml_document.ts";

/** A module's files (path relative to its directory, to content in base64), and the sha256 of all of it. */
export interface PackedModule {
  files: Record<string, string>;
  revision: string;
}

const LIMIT_FILES = 5000;
const LIMIT_BYTES = 32 * 1024 * 1024;
const LIMIT_PATH = 512;
/** Made on each node, or of no use there. */
const LEFT_OUT = new Set([".holdfast", ".git", ".hg", ".svn", ".DS_Store"]);

function refuse(file: string, message: string): never {
  const problem: Problem = { file, line: 1, column: 1, path: "", message };
  throw new ModuleInvalid([problem]);
}

/** What is wrong with a file's path inside a module, or "". */
function pathProblem(path: string): string {
  if (path.length > LIMIT_PATH) return `longer than ${LIMIT_PATH} characters`;
  const parts = path.split("/");
  if (parts.some((part) => part === "" || part === "." || part === ".." || Buffer.byteLength(part) > 255))
    return "not a relative path in its shortest form";
  if (parts.some((part) => LEFT_OUT.has(part)))
    return "belongs to this program or to a version control system";
  return /[\0\r\n\\]/.test(path) ? "has a character that paths of modules cannot have" : "";
}

/** Counts what a module holds and throws ModuleInvalid when it is too much. */
class Bounds {
  #files = 0;
  #bytes = 0;

  add(path: string, bytes: number): void {
    this.#files++;
    this.#bytes += bytes;
    if (this.#files > LIMIT_FILES) refuse(path, `the module has more than ${LIMIT_FILES} files`);
    if (this.#bytes > LIMIT_BYTES) refuse(path, `the module is larger than ${formatSize(LIMIT_BYTES)}`);
  }
}

function collect(directory: string, prefix: string, files: Map<string, Buffer>, bounds: Bounds): void {
  for (const entry of readdirSync(join(directory, prefix)).sort()) {
    // Command links of vendored packages: links, and of no use to an import.
    if (LEFT_OUT.has(entry) || (entry === ".bin" && basename(prefix) === "node_modules")) continue;
    const path = prefix === "" ? entry : `${prefix}/${entry}`;
    const stat = lstatSync(join(directory, path));
    if (stat.isDirectory()) {
      collect(directory, path, files, bounds);
      continue;
    }
    if (stat.isSymbolicLink()) refuse(path, "is a symbolic link: put the file itself there");
    if (!stat.isFile()) refuse(path, "is neither a file nor a directory");
    const problem = pathProblem(path);
    if (problem !== "") refuse(path, problem);
    bounds.add(path, stat.size);
    files.set(path, readFileSync(join(directory, path)));
  }
}

/** The sha256 (hex) of names and contents: the same files have the same revision, wherever they lie. */
function revisionOf(files: ReadonlyMap<string, Uint8Array>): string {
  const hash = createHash("sha256");
  for (const path of [...files.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
    const content = files.get(path)!;
    hash.update(`${Buffer.byteLength(path)} ${path} ${content.length}\n`).update(content);
  }
  return hash.digest("hex");
}

/** Reads a module directory. Throws ModuleInvalid when it holds links, special files, or too much. */
export function packModule(directory: string): PackedModule {
  const files = new Map<string, Buffer>();
  collect(directory, "", files, new Bounds());
  return {
    files: Object.fromEntries([...files].map(([path, content]) => [path, content.toString("base64")])),
    revision: revisionOf(files),
  };
}

/** Checks what came from elsewhere and decodes it. Throws ModuleInvalid. */
function decode(packed: Readonly<Record<string, string>>): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  const bounds = new Bounds();
  for (const [path, content] of Object.entries(packed)) {
    const problem = pathProblem(path);
    if (problem !== "") refuse(path.slice(0, LIMIT_PATH), problem);
    if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(content))
      refuse(path, "is not base64");
    const bytes = Buffer.from(content, "base64");
    bounds.add(path, bytes.length);
    files.set(path, bytes);
  }
  for (const path of files.keys())
    for (let parent = dirname(path); parent !== "."; parent = dirname(parent))
      if (files.has(parent)) refuse(path, `${parent} is both a file and a directory`);
  return files;
}

/** The revision of packed files. Throws ModuleInvalid when they cannot be unpacked. */
export function packedRevision(packed: Readonly<Record<string, string>>): string {
  return revisionOf(decode(packed));
}

function writeDurably(path: string, content: Uint8Array, mode: number): void {
  const fd = openSync(path, "wx", mode);
  try {
    for (let written = 0; written < content.length; ) written += writeSync(fd, content, written);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function syncDirectory(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Puts packed files in place of the module directory `target` (…/modules/NAME), in one step: they are written beside it and
 * checked there, against the cluster's names when given. When this throws (ModuleInvalid, or a system error), the old module is untouched.
 */
export function unpackModule(
  target: string,
  packed: Readonly<Record<string, string>>,
  cluster: ClusterNames | null = null,
): void {
  const name = basename(target);
  if (moduleNameProblem(name) !== "") refuse(name.slice(0, 60), moduleNameProblem(name));
  const files = decode(packed);
  const parent = dirname(target);
  const staging = join(parent, `.${name}.new`);
  mkdirSync(parent, { recursive: true, mode: 0o700 });
  rmSync(staging, { recursive: true, force: true });
  try {
    mkdirSync(staging, { mode: 0o755 });
    const directories = new Set<string>([staging]);
    for (const [path, content] of files) {
      const file = join(staging, path);
      for (let up = dirname(file); up !== staging; up = dirname(up)) directories.add(up);
      mkdirSync(dirname(file), { recursive: true });
      writeDurably(file, content, startsLikeProgram(content) ? 0o755 : 0o644);
    }
    writeSdk(staging);
    const { problems } = readModule(staging, cluster, name);
    if (problems.length > 0) throw new ModuleInvalid(problems);
    for (const directory of directories) syncDirectory(directory);
    // After the exchange the old module is what lies at `staging`.
    if (existsSync(target)) exchange(staging, target);
    else renameSync(staging, target);
    syncDirectory(parent);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}
