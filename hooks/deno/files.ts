/** `Deno`'s file functions, each in its two forms: `name` returns a promise, `nameSync` does it at once. */
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { translated, translatedLater } from "./errors.ts";

type Path = string | URL;

const pathOf = (path: Path): string => (typeof path === "string" ? path : fileURLToPath(path));

interface WriteOptions {
  append?: boolean;
  create?: boolean;
  createNew?: boolean;
  mode?: number;
}

interface TempOptions {
  dir?: string;
  prefix?: string;
  suffix?: string;
}

/** What Deno says about a file. */
function fileInfo(stat: fs.Stats): object {
  return {
    isFile: stat.isFile(),
    isDirectory: stat.isDirectory(),
    isSymlink: stat.isSymbolicLink(),
    size: stat.size,
    mtime: stat.mtime,
    atime: stat.atime,
    birthtime: stat.birthtime,
    ctime: stat.ctime,
    dev: stat.dev,
    ino: stat.ino,
    mode: stat.mode,
    nlink: stat.nlink,
    uid: stat.uid,
    gid: stat.gid,
    rdev: stat.rdev,
    blksize: stat.blksize,
    blocks: stat.blocks,
    isBlockDevice: stat.isBlockDevice(),
    isCharDevice: stat.isCharacterDevice(),
    isFifo: stat.isFIFO(),
    isSocket: stat.isSocket(),
  };
}

function directoryEntry(entry: fs.Dirent) {
  return {
    name: entry.name,
    isFile: entry.isFile(),
    isDirectory: entry.isDirectory(),
    isSymlink: entry.isSymbolicLink(),
  };
}

function writeSync(path: Path, data: Uint8Array | string, options: WriteOptions = {}): void {
  const { O_WRONLY, O_CREAT, O_EXCL, O_APPEND, O_TRUNC } = fs.constants;
  const create = options.createNew === true ? O_CREAT | O_EXCL : options.create === false ? 0 : O_CREAT;
  const flags = O_WRONLY | create | (options.append === true ? O_APPEND : O_TRUNC);
  const file = pathOf(path);
  const fd = fs.openSync(file, flags, options.mode ?? 0o666);
  try {
    const bytes = typeof data === "string" ? Buffer.from(data) : data;
    for (let written = 0; written < bytes.length; ) written += fs.writeSync(fd, bytes, written);
    if (options.mode !== undefined) fs.fchmodSync(fd, options.mode);
  } finally {
    fs.closeSync(fd);
  }
}

async function bytesOf(data: Uint8Array | ReadableStream<Uint8Array>): Promise<Uint8Array> {
  return data instanceof Uint8Array ? data : new Uint8Array(await new Response(data).arrayBuffer());
}

function removeSync(path: Path, options: { recursive?: boolean } = {}): void {
  const file = pathOf(path);
  if (!fs.lstatSync(file).isDirectory()) fs.unlinkSync(file);
  else if (options.recursive === true) fs.rmSync(file, { recursive: true });
  else fs.rmdirSync(file);
}

function temporaryName(options: TempOptions): string {
  const random = crypto.randomUUID().slice(0, 13);
  return join(
    options.dir ?? process.env["TMPDIR"] ?? tmpdir(),
    `${options.prefix ?? ""}${random}${options.suffix ?? ""}`,
  );
}

/** Every function in its synchronous form; the promises are made from them. */
const synchronous = {
  readFile: (path: Path) => new Uint8Array(fs.readFileSync(pathOf(path))),
  readTextFile: (path: Path) => fs.readFileSync(pathOf(path), "utf8"),
  writeFile: (path: Path, data: Uint8Array, options?: WriteOptions) => writeSync(path, data, options),
  writeTextFile: (path: Path, text: string, options?: WriteOptions) => writeSync(path, text, options),
  stat: (path: Path) => fileInfo(fs.statSync(pathOf(path))),
  lstat: (path: Path) => fileInfo(fs.lstatSync(pathOf(path))),
  mkdir(path: Path, options: { recursive?: boolean; mode?: number } = {}) {
    fs.mkdirSync(pathOf(path), { recursive: options.recursive === true, mode: options.mode ?? 0o777 });
  },
  remove: removeSync,
  rename: (from: Path, to: Path) => fs.renameSync(pathOf(from), pathOf(to)),
  symlink: (target: Path, path: Path) => fs.symlinkSync(pathOf(target), pathOf(path)),
  link: (existing: Path, path: Path) => fs.linkSync(pathOf(existing), pathOf(path)),
  readLink: (path: Path) => fs.readlinkSync(pathOf(path)),
  realPath: (path: Path) => fs.realpathSync(pathOf(path)),
  copyFile: (from: Path, to: Path) => fs.copyFileSync(pathOf(from), pathOf(to)),
  chmod: (path: Path, mode: number) => fs.chmodSync(pathOf(path), mode),
  chown: (path: Path, uid: number | null, gid: number | null) =>
    fs.chownSync(pathOf(path), uid ?? -1, gid ?? -1),
  truncate: (path: Path, length = 0) => fs.truncateSync(pathOf(path), length),
  utime: (path: Path, atime: number | Date, mtime: number | Date) =>
    fs.utimesSync(pathOf(path), atime, mtime),
  makeTempDir(options: TempOptions = {}) {
    const path = temporaryName(options);
    fs.mkdirSync(path, { mode: 0o700 });
    return path;
  },
  makeTempFile(options: TempOptions = {}) {
    const path = temporaryName(options);
    writeSync(path, "", { createNew: true, mode: 0o600 });
    return path;
  },
};

type Function = (...args: never[]) => unknown;

/** Both forms of every function, under Deno's names. */
export function fileFunctions(): Record<string, Function> {
  const functions: Record<string, Function> = {};
  for (const [name, work] of Object.entries<(...args: never[]) => unknown>(synchronous)) {
    functions[`${name}Sync`] = (...args: never[]) => translated(() => work(...args));
    // One thread serves one script here, so a promise costs no more than the call itself.
    functions[name] = async (...args: never[]) => translatedLater(async () => work(...args));
  }
  functions["writeFile"] = (
    path: Path,
    data: Uint8Array | ReadableStream<Uint8Array>,
    options?: WriteOptions,
  ) => translatedLater(async () => writeSync(path, await bytesOf(data), options));
  functions["readDirSync"] = (path: Path) =>
    translated(() =>
      fs.readdirSync(pathOf(path), { withFileTypes: true }).map(directoryEntry)[Symbol.iterator](),
    );
  functions["readDir"] = async function* readDir(path: Path) {
    const entries = await translatedLater(() => fs.promises.readdir(pathOf(path), { withFileTypes: true }));
    yield* entries.map(directoryEntry);
  };
  return functions;
}
