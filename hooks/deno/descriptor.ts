/** Reading and writing one descriptor, in the words of Deno: for files and for the standard streams. */
import * as fs from "node:fs";
import { promisify } from "node:util";
import { translated, translatedLater } from "./errors.ts";

const CHUNK = 64 * 1024;
/** A descriptor that somebody made non-blocking (a terminal, a shared pipe) is asked again after this time. */
const AGAIN_MS = 5;

const readLater = promisify(fs.read) as (
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: null,
) => Promise<{ bytesRead: number }>;
const writeLater = promisify(fs.write) as (
  fd: number,
  buffer: Uint8Array,
) => Promise<{ bytesWritten: number }>;

function mustWait(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EAGAIN";
}

async function again<Result>(work: () => Promise<Result>): Promise<Result> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!mustWait(error)) throw error;
    }
    await Bun.sleep(AGAIN_MS);
  }
}

function againSync<Result>(work: () => Result): Result {
  for (;;) {
    try {
      return work();
    } catch (error) {
      if (!mustWait(error)) throw error;
    }
    Bun.sleepSync(AGAIN_MS);
  }
}

/** Bytes read into `into`, or null at the end. */
export async function readFrom(fd: number, into: Uint8Array): Promise<number | null> {
  if (into.length === 0) return 0;
  const { bytesRead } = await translatedLater("", () =>
    again(() => readLater(fd, into, 0, into.length, null)),
  );
  return bytesRead === 0 ? null : bytesRead;
}

/** As `readFrom`, at once. */
export function readFromSync(fd: number, into: Uint8Array): number | null {
  if (into.length === 0) return 0;
  const count = translated("", () => againSync(() => fs.readSync(fd, into, 0, into.length, null)));
  return count === 0 ? null : count;
}

/** How many of the bytes were written: not always all. */
export async function writeTo(fd: number, bytes: Uint8Array): Promise<number> {
  return (await translatedLater("", () => again(() => writeLater(fd, bytes)))).bytesWritten;
}

/** As `writeTo`, at once. */
export function writeToSync(fd: number, bytes: Uint8Array): number {
  return translated("", () => againSync(() => fs.writeSync(fd, bytes)));
}

/** Writes all of them. */
export function writeAllSync(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeToSync(fd, bytes.subarray(at));
}

/** A stream of what `read` gives, closed at the end. */
export function readableOf(
  read: (into: Uint8Array) => Promise<number | null>,
  close: () => void,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const buffer = new Uint8Array(CHUNK);
      const count = await read(buffer);
      if (count !== null) return controller.enqueue(buffer.subarray(0, count));
      close();
      controller.close();
    },
    cancel: close,
  });
}

/** A stream into `write`. */
export function writableOf(
  write: (bytes: Uint8Array) => Promise<number>,
  close: () => void | Promise<void>,
): WritableStream<Uint8Array> {
  return new WritableStream<Uint8Array>({
    async write(chunk) {
      for (let at = 0; at < chunk.length; ) at += await write(chunk.subarray(at));
    },
    close,
    abort: close,
  });
}
