/** `Deno`'s functions on paths, each in its two forms: `name` returns a promise, `nameSync` does it at once. */
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { errorOf, translated, translatedLater } from "./errors.ts";
import { directoryEntry, fileInfo, type Path, pathOf } from "./file_info.ts";

interface SignalOption {
  signal?: AbortSignal;
}

interface WriteOptions extends SignalOption {
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

const { promises } = fs;
const { O_WRONLY, O_CREAT, O_EXCL, O_APPEND, O_TRUNC } = fs.constants;

/** The two forms of one function on a path; `name` stands for it in error messages: "stat 'a.txt'". */
function pair<Rest extends readonly unknown[], Result>(
  name: string,
  sync: (path: Path, ...rest: Rest) => Result,
  later: (path: Path, ...rest: Rest) => Promise<Result>,
) {
  const operation = (path: Path) => `${name} '${pathOf(path)}'`;
  return {
    sync: (path: Path, ...rest: Rest): Result => translated(operation(path), () => sync(path, ...rest)),
    later: async (path: Path, ...rest: Rest): Promise<Result> =>
      await translatedLater(operation(path), async () => await later(path, ...rest)),
  };
}

const between = (name: string, from: Path, to: Path): string =>
  `${name} '${pathOf(from)}' -> '${pathOf(to)}'`;

/** As `pair`, from one path to another: "rename 'a' -> 'b'". */
function pairOfPaths(
  name: string,
  sync: (from: Path, to: Path) => void,
  later: (from: Path, to: Path) => Promise<void>,
) {
  return {
    sync: (from: Path, to: Path): void => translated(between(name, from, to), () => sync(from, to)),
    later: async (from: Path, to: Path): Promise<void> =>
      await translatedLater(between(name, from, to), async () => await later(from, to)),
  };
}

/** As `pair`, for what makes a name of its own. */
function pairWithoutPath(name: string, sync: (options?: TempOptions) => string) {
  return {
    sync: (options?: TempOptions): string => translated(name, () => sync(options)),
    later: async (options?: TempOptions): Promise<string> => translated(name, () => sync(options)),
  };
}

/** Rejects as soon as the signal is aborted, whatever the work still does. */
async function unlessAborted<Result>(
  signal: AbortSignal | undefined,
  work: Promise<Result>,
): Promise<Result> {
  if (signal === undefined) return await work;
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([promise, work]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

function writeFlags(options: WriteOptions): number {
  const create = options.createNew === true ? O_CREAT | O_EXCL : options.create === false ? 0 : O_CREAT;
  return O_WRONLY | create | (options.append === true ? O_APPEND : O_TRUNC);
}

function writeSync(path: Path, data: Uint8Array | string, options: WriteOptions = {}): void {
  const fd = fs.openSync(pathOf(path), writeFlags(options), options.mode ?? 0o666);
  try {
    const bytes = typeof data === "string" ? Buffer.from(data) : data;
    for (let written = 0; written < bytes.length; ) written += fs.writeSync(fd, bytes, written);
    if (options.mode !== undefined) fs.fchmodSync(fd, options.mode);
  } finally {
    fs.closeSync(fd);
  }
}

async function writeLater(
  path: Path,
  data: Uint8Array | string | ReadableStream<Uint8Array | string>,
  options: WriteOptions = {},
): Promise<void> {
  options.signal?.throwIfAborted();
  const file = await promises.open(pathOf(path), writeFlags(options), options.mode ?? 0o666);
  try {
    if (options.mode !== undefined) await file.chmod(options.mode);
    const chunks = data instanceof ReadableStream ? data : [data];
    for await (const chunk of chunks) {
      options.signal?.throwIfAborted();
      const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
      for (let written = 0; written < bytes.length; )
        written += (await file.write(bytes, written, bytes.length - written)).bytesWritten;
    }
  } finally {
    await file.close();
  }
}

function removeSync(path: Path, options: { recursive?: boolean } = {}): void {
  const file = pathOf(path);
  if (!fs.lstatSync(file).isDirectory()) fs.unlinkSync(file);
  else if (options.recursive === true) fs.rmSync(file, { recursive: true });
  else fs.rmdirSync(file);
}

async function removeLater(path: Path, options: { recursive?: boolean } = {}): Promise<void> {
  const file = pathOf(path);
  if (!(await promises.lstat(file)).isDirectory()) await promises.unlink(file);
  else if (options.recursive === true) await promises.rm(file, { recursive: true });
  else await promises.rmdir(file);
}

function copySync(from: Path, to: Path): void {
  if (!fs.statSync(pathOf(from)).isFile()) throw notAFile(from, to);
  fs.copyFileSync(pathOf(from), pathOf(to));
}

function notAFile(from: Path, to: Path): Error {
  const text = "the source path is neither a regular file nor a symlink to a regular file";
  return errorOf("EINVAL", `${text}: ${between("copy", from, to)}`);
}

function temporaryName({ dir, prefix = "", suffix = "" }: TempOptions): string {
  for (const part of [prefix, suffix])
    if (part.includes("/") || part.includes("\\"))
      throw new Error(`Invalid character in prefix or suffix: "${part.includes("/") ? "/" : "\\\\"}"`);
  const random = Buffer.from(crypto.getRandomValues(new Uint8Array(8))).toString("hex");
  const directory = dir ?? tmpdir();
  return `${directory}${directory.endsWith("/") ? "" : "/"}${prefix}${random}${suffix}`;
}

function makeTempDirSync(options: TempOptions = {}): string {
  const path = temporaryName(options);
  fs.mkdirSync(path, { mode: 0o700 });
  return path;
}

function makeTempFileSync(options: TempOptions = {}): string {
  const path = temporaryName(options);
  writeSync(path, "", { createNew: true, mode: 0o600 });
  return path;
}

interface MkdirOptions {
  recursive?: boolean;
  mode?: number;
}

const mkdirOptions = ({ recursive, mode }: MkdirOptions = {}) => ({
  recursive: recursive === true,
  mode: mode ?? 0o777,
});

/** Every function but the two iterators. */
const pairs = {
  readFile: pair(
    "readfile",
    (path: Path, _options?: SignalOption) => new Uint8Array(fs.readFileSync(pathOf(path))),
    async (path, options) =>
      new Uint8Array(await unlessAborted(options?.signal, promises.readFile(pathOf(path)))),
  ),
  readTextFile: pair(
    "readfile",
    (path: Path, _options?: SignalOption) => fs.readFileSync(pathOf(path), "utf8"),
    (path, options) => unlessAborted(options?.signal, promises.readFile(pathOf(path), "utf8")),
  ),
  writeFile: pair<[data: Uint8Array | ReadableStream<Uint8Array>, options?: WriteOptions], undefined>(
    "writefile",
    (path, data, options) => void writeSync(path, bytesAtOnce(data), options),
    async (path, data, options) => void (await writeLater(path, data, options)),
  ),
  writeTextFile: pair<[data: string | ReadableStream<string>, options?: WriteOptions], undefined>(
    "writefile",
    (path, text, options) => void writeSync(path, String(text), options),
    async (path, text, options) =>
      void (await writeLater(path, text instanceof ReadableStream ? text : String(text), options)),
  ),
  stat: pair(
    "stat",
    (path) => fileInfo(fs.statSync(pathOf(path))),
    async (path) => fileInfo(await promises.stat(pathOf(path))),
  ),
  lstat: pair(
    "lstat",
    (path) => fileInfo(fs.lstatSync(pathOf(path))),
    async (path) => fileInfo(await promises.lstat(pathOf(path))),
  ),
  mkdir: pair(
    "mkdir",
    (path: Path, options?: MkdirOptions) => void fs.mkdirSync(pathOf(path), mkdirOptions(options)),
    async (path, options) => void (await promises.mkdir(pathOf(path), mkdirOptions(options))),
  ),
  remove: pair("remove", removeSync, removeLater),
  rename: pairOfPaths(
    "rename",
    (from, to) => fs.renameSync(pathOf(from), pathOf(to)),
    (from, to) => promises.rename(pathOf(from), pathOf(to)),
  ),
  copyFile: pairOfPaths("copy", copySync, async (from, to) => {
    if (!(await promises.stat(pathOf(from))).isFile()) throw notAFile(from, to);
    await promises.copyFile(pathOf(from), pathOf(to));
  }),
  symlink: pairOfPaths(
    "symlink",
    (target, path) => fs.symlinkSync(pathOf(target), pathOf(path)),
    (target, path) => promises.symlink(pathOf(target), pathOf(path)),
  ),
  link: pairOfPaths(
    "link",
    (from, to) => fs.linkSync(pathOf(from), pathOf(to)),
    (from, to) => promises.link(pathOf(from), pathOf(to)),
  ),
  readLink: pair(
    "readlink",
    (path) => fs.readlinkSync(pathOf(path)),
    (path) => promises.readlink(pathOf(path)),
  ),
  realPath: pair(
    "realpath",
    (path) => fs.realpathSync.native(pathOf(path)),
    (path) => promises.realpath(pathOf(path)),
  ),
  chmod: pair(
    "chmod",
    (path: Path, mode: number) => fs.chmodSync(pathOf(path), mode),
    (path, mode) => promises.chmod(pathOf(path), mode),
  ),
  chown: pair(
    "chown",
    (path: Path, uid: number | null, gid: number | null) => fs.chownSync(pathOf(path), uid ?? -1, gid ?? -1),
    (path, uid, gid) => promises.chown(pathOf(path), uid ?? -1, gid ?? -1),
  ),
  truncate: pair(
    "truncate",
    (path: Path, length: number = 0) => fs.truncateSync(pathOf(path), Math.max(0, length)),
    (path: Path, length: number = 0) => promises.truncate(pathOf(path), Math.max(0, length)),
  ),
  utime: pair(
    "utime",
    (path: Path, atime: number | Date, mtime: number | Date) => fs.utimesSync(pathOf(path), atime, mtime),
    (path, atime, mtime) => promises.utimes(pathOf(path), atime, mtime),
  ),
  makeTempDir: pairWithoutPath("tmpdir", makeTempDirSync),
  makeTempFile: pairWithoutPath("tmpfile", makeTempFileSync),
};

function bytesAtOnce(data: Uint8Array | ReadableStream<Uint8Array>): Uint8Array {
  if (data instanceof ReadableStream)
    throw new TypeError("a stream needs Deno.writeFile, which waits for it");
  return data;
}

function readDirSync(path: Path) {
  const operation = `readdir '${pathOf(path)}'`;
  const entries = translated(operation, () => fs.readdirSync(pathOf(path), { withFileTypes: true }));
  return entries.map(directoryEntry)[Symbol.iterator]();
}

function readDir(path: Path) {
  const operation = `readdir '${pathOf(path)}'`;
  async function* entries() {
    const found = await translatedLater(operation, () =>
      promises.readdir(pathOf(path), { withFileTypes: true }),
    );
    yield* found.map(directoryEntry);
  }
  return { [Symbol.asyncIterator]: () => entries() };
}

/** Both forms of every function, under Deno's names. */
export function fileFunctions(): Record<string, unknown> {
  const functions: Record<string, unknown> = { readDir, readDirSync };
  for (const [name, { sync, later }] of Object.entries(pairs)) {
    functions[name] = later;
    functions[`${name}Sync`] = sync;
  }
  return functions;
}
