/** `Deno.open` and `Deno.FsFile`. */
import * as fs from "node:fs";
import { isatty } from "node:tty";
import { lock, seek, unlock } from "../../core/platform/linux/descriptors.ts";
import { readableOf, readFrom, readFromSync, writableOf, writeTo, writeToSync } from "./descriptor.ts";
import { errorOf, errors, translated, translatedLater } from "./errors.ts";
import { fileInfo, type Path, pathOf } from "./file_info.ts";

interface OpenOptions {
  read?: boolean;
  write?: boolean;
  append?: boolean;
  truncate?: boolean;
  create?: boolean;
  createNew?: boolean;
  mode?: number;
}

/** Where `seek` counts from. */
export enum SeekMode {
  Start = 0,
  Current = 1,
  End = 2,
}

/** How often somebody else's lock is looked at: flock(2) itself would stop the whole script. */
const LOCK_POLL_MS = 10;

/** Only `open` makes files. */
const INTERNAL = Symbol("internal");

/** An open file. */
export class FsFile implements Disposable {
  #fd: number | null;

  constructor(key: unknown, fd: number) {
    if (key !== INTERNAL)
      throw new TypeError(
        "'Deno.FsFile' cannot be constructed, use 'Deno.open()' or 'Deno.openSync()' instead",
      );
    this.#fd = fd;
  }

  get #open(): number {
    if (this.#fd === null) throw new errors.BadResource("Bad resource ID");
    return this.#fd;
  }

  async read(into: Uint8Array): Promise<number | null> {
    return await readFrom(this.#open, into);
  }

  readSync(into: Uint8Array): number | null {
    return readFromSync(this.#open, into);
  }

  async write(bytes: Uint8Array): Promise<number> {
    return await writeTo(this.#open, bytes);
  }

  writeSync(bytes: Uint8Array): number {
    return writeToSync(this.#open, bytes);
  }

  seekSync(offset: number | bigint, whence: SeekMode): number {
    const fd = this.#open;
    return translated("", () => seek(fd, Number(offset), whence));
  }

  async seek(offset: number | bigint, whence: SeekMode): Promise<number> {
    return this.seekSync(offset, whence);
  }

  truncateSync(length = 0): void {
    const fd = this.#open;
    translated("", () => fs.ftruncateSync(fd, Math.max(0, length)));
  }

  async truncate(length = 0): Promise<void> {
    this.truncateSync(length);
  }

  statSync() {
    const fd = this.#open;
    return translated("", () => fileInfo(fs.fstatSync(fd)));
  }

  async stat() {
    return this.statSync();
  }

  syncSync(): void {
    const fd = this.#open;
    translated("", () => fs.fsyncSync(fd));
  }

  async sync(): Promise<void> {
    const fd = this.#open;
    await translatedLater("", () => whenDone((done) => fs.fsync(fd, done)));
  }

  syncDataSync(): void {
    const fd = this.#open;
    translated("", () => fs.fdatasyncSync(fd));
  }

  async syncData(): Promise<void> {
    const fd = this.#open;
    await translatedLater("", () => whenDone((done) => fs.fdatasync(fd, done)));
  }

  utimeSync(atime: number | Date, mtime: number | Date): void {
    const fd = this.#open;
    translated("", () => fs.futimesSync(fd, atime, mtime));
  }

  async utime(atime: number | Date, mtime: number | Date): Promise<void> {
    this.utimeSync(atime, mtime);
  }

  tryLockSync(exclusive = false): boolean {
    const fd = this.#open;
    return translated("", () => lock(fd, exclusive, false));
  }

  async tryLock(exclusive = false): Promise<boolean> {
    return this.tryLockSync(exclusive);
  }

  lockSync(exclusive = false): void {
    const fd = this.#open;
    translated("", () => lock(fd, exclusive, true));
  }

  async lock(exclusive = false): Promise<void> {
    while (!this.tryLockSync(exclusive)) await Bun.sleep(LOCK_POLL_MS);
  }

  unlockSync(): void {
    const fd = this.#open;
    translated("", () => unlock(fd));
  }

  async unlock(): Promise<void> {
    this.unlockSync();
  }

  isTerminal(): boolean {
    return isatty(this.#open);
  }

  setRaw(_mode: boolean): void {
    if (!this.isTerminal()) throw new errors.BadResource("ENOTTY: Not a typewriter");
    throw new errors.NotSupported("setRaw is offered on Deno.stdin alone");
  }

  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return readableOf(
      (into) => this.read(into),
      () => this[Symbol.dispose](),
    );
  }

  get writable(): WritableStream<Uint8Array> {
    return writableOf(
      (bytes) => this.write(bytes),
      () => this[Symbol.dispose](),
    );
  }

  close(): void {
    const fd = this.#open;
    this.#fd = null;
    translated("", () => fs.closeSync(fd));
  }

  [Symbol.dispose](): void {
    if (this.#fd !== null) this.close();
  }
}

/** A callback's end as a promise's. */
function whenDone(work: (done: (error: Error | null) => void) => void): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  work((error) => (error ? reject(error) : resolve()));
  return promise;
}

/** open(2)'s flags; throws for options that contradict each other, as Deno does. */
function flagsOf(options: OpenOptions, operation: string): number {
  const { read, write, append, truncate, create, createNew } = options;
  if (!(read || write || append || truncate || create || createNew))
    throw new Error("'options' requires at least one option to be true");
  if (truncate && !write) throw new Error("'truncate' option requires 'write' to be true");
  if ((create || createNew) && !(write || append))
    throw new Error("'create' or 'createNew' options require 'write' or 'append' to be true");
  if (truncate && append)
    throw errorOf("EINVAL", `creating or truncating a file requires write or append access: ${operation}`);
  const { O_RDONLY, O_WRONLY, O_RDWR, O_APPEND, O_TRUNC, O_CREAT, O_EXCL } = fs.constants;
  const writes = write === true || append === true;
  return (
    (writes ? (read ? O_RDWR : O_WRONLY) : O_RDONLY) |
    (append ? O_APPEND : 0) |
    (truncate ? O_TRUNC : 0) |
    (createNew ? O_CREAT | O_EXCL : create ? O_CREAT : 0)
  );
}

/** `Deno.openSync`. */
export function openSync(path: Path, options: OpenOptions = { read: true }): FsFile {
  const operation = `open '${pathOf(path)}'`;
  const flags = flagsOf(options, operation);
  return translated(
    operation,
    () => new FsFile(INTERNAL, fs.openSync(pathOf(path), flags, options.mode ?? 0o666)),
  );
}

/** `Deno.open`: opening may wait (a FIFO without its other end), so it is not done here. */
export async function open(path: Path, options: OpenOptions = { read: true }): Promise<FsFile> {
  const operation = `open '${pathOf(path)}'`;
  const flags = flagsOf(options, operation);
  return await translatedLater(operation, async () => {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    fs.open(pathOf(path), flags, options.mode ?? 0o666, (error, fd) => (error ? reject(error) : resolve(fd)));
    return new FsFile(INTERNAL, await promise);
  });
}

const CREATE = { read: true, write: true, truncate: true, create: true };

/** `Deno.create`. */
export const create = (path: Path): Promise<FsFile> => open(path, CREATE);

/** `Deno.createSync`. */
export const createSync = (path: Path): FsFile => openSync(path, CREATE);
