/**
 * The files of a module, as they go into git and come out of it: plain files under bounds, the same from a directory and from a commit.
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
import { syncDirectory } from "../../core/platform/durable_directory.ts";
import { startsLikeProgram } from "../hook_files.ts";
import { ModuleInvalid } from "../load.ts";
import { formatSize } from "../units.ts";

/** One file. */
export interface ModuleFile {
  content: Buffer;
  executable: boolean;
}

/** Path relative to the module's directory, to the file. */
export type ModuleFiles = Map<string, ModuleFile>;

const LIMIT_FILES = 5000;
const LIMIT_BYTES = 32 * 1024 * 1024;
const LIMIT_PATH = 512;
const OWNER_MAY_RUN = 0o100;
/** Made on each node, or of no use there. */
const LEFT_OUT = new Set([".holdfast", ".git", ".hg", ".svn", ".DS_Store"]);

function refuse(file: string, message: string): never {
  throw new ModuleInvalid([{ file: file.slice(0, LIMIT_PATH), line: 1, column: 1, path: "", message }]);
}

/** What is wrong with a file's path inside a module, or "". */
function pathProblem(path: string): string {
  if (path.length > LIMIT_PATH) return `longer than ${LIMIT_PATH} characters`;
  const parts = path.split("/");
  if (parts.some((part) => part === "" || part === "." || part === ".." || Buffer.byteLength(part) > 255))
    return "not a relative path in its shortest form";
  // Git's own directory by any spelling that some file system takes for it.
  if (parts.some((part) => LEFT_OUT.has(part) || /^(\.git|git~1)[. ]*$/i.test(part)))
    return "belongs to this program or to a version control system";
  return /[\0\r\n\\]/.test(path) ? "has a character that paths of modules cannot have" : "";
}

/** Counts what a module holds, and refuses what is too much or has no place in one. */
export class Bounds {
  #files = 0;
  #bytes = 0;

  /** Throws ModuleInvalid. */
  add(path: string, bytes: number): void {
    const problem = pathProblem(path);
    if (problem !== "") refuse(path, problem);
    this.#files++;
    this.#bytes += bytes;
    if (this.#files > LIMIT_FILES) refuse(path, `the module has more than ${LIMIT_FILES} files`);
    if (this.#bytes > LIMIT_BYTES) refuse(path, `the module is larger than ${formatSize(LIMIT_BYTES)}`);
  }

  /** Neither a file nor a directory. Throws ModuleInvalid. */
  refuseLink(path: string): never {
    refuse(path, "is a symbolic link: put the file itself there");
  }
}

/** Reads a module's directory. Throws ModuleInvalid when it holds links, special files, or too much. */
export function readFiles(directory: string): ModuleFiles {
  const files: ModuleFiles = new Map();
  collect(directory, "", files, new Bounds());
  return files;
}

function collect(directory: string, prefix: string, files: ModuleFiles, bounds: Bounds): void {
  for (const entry of readdirSync(join(directory, prefix)).sort()) {
    // Command links of vendored packages: links, and of no use to an import.
    if (LEFT_OUT.has(entry) || (entry === ".bin" && basename(prefix) === "node_modules")) continue;
    const path = prefix === "" ? entry : `${prefix}/${entry}`;
    const stat = lstatSync(join(directory, path));
    if (stat.isDirectory()) {
      collect(directory, path, files, bounds);
      continue;
    }
    if (stat.isSymbolicLink()) bounds.refuseLink(path);
    if (!stat.isFile()) refuse(path, "is neither a file nor a directory");
    bounds.add(path, stat.size);
    const content = readFileSync(join(directory, path));
    const executable = (stat.mode & OWNER_MAY_RUN) !== 0 || startsLikeProgram(content);
    files.set(path, { content, executable });
  }
}

/** Git's name of a blob with this content. */
export function blobId(content: Uint8Array): string {
  return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}

function writeDurably(path: string, { content, executable }: ModuleFile): void {
  const fd = openSync(path, "wx", executable ? 0o755 : 0o644);
  try {
    for (let written = 0; written < content.length; ) written += writeSync(fd, content, written);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Makes `target` hold exactly these files, in one step: they are written beside it, `finish` adds to them and may refuse (throw), and all of it
 * is on stable storage before it gets the name. What was called so before is gone.
 */
export function writeFiles(
  target: string,
  files: ReadonlyMap<string, ModuleFile>,
  finish: (staging: string) => void,
): void {
  const parent = dirname(target);
  const staging = join(parent, `.${basename(target)}.new`);
  mkdirSync(parent, { recursive: true, mode: 0o700 });
  rmSync(staging, { recursive: true, force: true });
  try {
    mkdirSync(staging, { mode: 0o755 });
    const directories = new Set<string>([staging]);
    for (const [path, file] of files) {
      const place = join(staging, path);
      for (let up = dirname(place); up !== staging; up = dirname(up)) directories.add(up);
      mkdirSync(dirname(place), { recursive: true });
      writeDurably(place, file);
    }
    finish(staging);
    for (const directory of directories) syncDirectory(directory);
    if (existsSync(target)) rmSync(target, { recursive: true });
    renameSync(staging, target);
    syncDirectory(parent);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}
