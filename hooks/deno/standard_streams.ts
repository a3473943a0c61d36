/** `Deno.stdin`, `stdout` and `stderr`: the descriptors themselves, so that what is printed keeps its order. */
import { closeSync, openSync } from "node:fs";
import { isatty, ReadStream } from "node:tty";
import { readableOf, readFrom, readFromSync, writableOf, writeTo, writeToSync } from "./descriptor.ts";
import { errors, translated } from "./errors.ts";

/** What the three have in common. */
class Stream {
  readonly #fd: number;
  #closed = false;

  constructor(fd: number) {
    this.#fd = fd;
  }

  protected get fd(): number {
    if (this.#closed) throw new errors.BadResource("Bad resource ID");
    return this.#fd;
  }

  isTerminal(): boolean {
    return isatty(this.fd);
  }

  close(): void {
    // Under Deno, too, only standard input may be closed twice.
    if (this.#closed && this.#fd === 0) return;
    const { fd } = this;
    this.#closed = true;
    translated("", () => closeSync(fd));
    // The next file that is opened must not get this number: what the runtime prints would go into it.
    const taken = openSync("/dev/null", "r+");
    if (taken !== fd) closeSync(taken);
  }
}

class Stdin extends Stream {
  #raw: ReadStream | null = null;

  async read(into: Uint8Array): Promise<number | null> {
    return await readFrom(this.fd, into);
  }

  readSync(into: Uint8Array): number | null {
    return readFromSync(this.fd, into);
  }

  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return readableOf(
      (into) => this.read(into),
      () => undefined,
    );
  }

  /** Keys instead of lines. Throws BadResource when standard input is no terminal. */
  setRaw(mode: boolean): void {
    if (!this.isTerminal()) throw new errors.BadResource("ENOTTY: Not a typewriter");
    this.#raw ??= new ReadStream(this.fd);
    this.#raw.setRawMode(mode);
  }
}

class Output extends Stream {
  async write(bytes: Uint8Array): Promise<number> {
    return await writeTo(this.fd, bytes);
  }

  writeSync(bytes: Uint8Array): number {
    return writeToSync(this.fd, bytes);
  }

  get writable(): WritableStream<Uint8Array> {
    return writableOf(
      (bytes) => this.write(bytes),
      () => this.close(),
    );
  }
}

class Stdout extends Output {}
class Stderr extends Output {}

/** The three streams of this process. */
export const stdin = new Stdin(0);
export const stdout = new Stdout(1);
export const stderr = new Stderr(2);

/** Writes all of the text. Throws BadResource when the script has closed the stream. */
export function print(stream: Output, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) at += stream.writeSync(bytes.subarray(at));
}

/** The terminal's size. Throws when none of the three is a terminal. */
export function consoleSize(): { columns: number; rows: number } {
  const terminal = [process.stdout, process.stderr].find((stream) => stream.isTTY);
  if (terminal === undefined)
    throw new Error("Could not get console size: stdin, stdout, and stderr are not connected to a terminal");
  return { columns: terminal.columns, rows: terminal.rows };
}
