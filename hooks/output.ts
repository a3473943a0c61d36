/**
 * What hooks print, line by line, through a file instead of a pipe.
 *
 * An application that a hook starts keeps the hook's output for its whole life. On a pipe it would be killed by SIGPIPE
 * when the daemon restarts, or stop when nobody reads. A file in append mode takes everything; whoever runs follows it and
 * cuts it back.
 *
 * The file is as it was printed, with the secrets in it. Where there are some it lies in memory, and what was read is erased.
 */
import { closeSync, constants, fstatSync, ftruncateSync, openSync, readSync } from "node:fs";
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE } from "../core/platform/linux/constants.ts";
import { fallocate } from "../core/platform/linux/libc.ts";
import { Mask } from "./mask.ts";

const LINE_LIMIT = 8 * 1024;
/** Cut back once this much was read. */
const FILE_LIMIT = 1024 * 1024;
/** Text handed on at once, and refilled in a second: a hook that prints without end must not flood the log. */
const BURST = 1024 * 1024;
const REFILL_PER_MS = 64;
const BUSY_POLL_MS = 30;
const IDLE_POLL_MS = 1000;
/** Of a file in memory, which what is printed fills up. */
const MEMORY_POLL_MS = 200;

/** Receives one line, without its end. */
export type LineSink = (line: string) => void;

/** Follows one output file. */
export class OutputFollower {
  readonly #fd: number;
  readonly #buffer = new Uint8Array(64 * 1024);
  #decoder = new TextDecoder();
  #position: number;
  #partial = "";
  #budget = BURST;
  #refilled = performance.now();
  #skipped = 0;
  #erased = 0;
  #runs = 0;
  #timer: ReturnType<typeof setInterval> | null = null;
  /** What was read last may begin in the middle of a line: of a secret. */
  #isCut = false;
  /** What is not shown. */
  readonly mask = new Mask();
  onLine: LineSink;

  /** Opens (or makes, mode 0600) the file and starts at its present end. `erase`: what was read is gone. Throws when it cannot. */
  constructor(
    path: string,
    onLine: LineSink,
    private readonly erase: boolean,
  ) {
    this.#fd = openSync(
      path,
      constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW,
      0o600,
    );
    this.#position = fstatSync(this.#fd).size;
    this.#isCut = this.#position > 0 && !this.#endsLine();
    this.onLine = onLine;
    this.#pollSeldom();
  }

  /** A hook starts to write: look often. */
  begin(): void {
    this.#runs++;
    this.#poll(BUSY_POLL_MS);
  }

  /** It ended: hand on what it printed, but for what may be half a secret, then look seldom. */
  end(): void {
    this.drain();
    this.#emitPartial();
    if (--this.#runs === 0) this.#pollSeldom();
  }

  #emitPartial(): void {
    if (this.#partial !== "") this.#emit(this.#partial);
    this.#partial = "";
  }

  /** Reads to the present end. */
  drain(): void {
    const now = performance.now();
    this.#budget = Math.min(BURST, this.#budget + (now - this.#refilled) * REFILL_PER_MS);
    this.#refilled = now;
    const { size } = fstatSync(this.#fd);
    if (size < this.#position) this.#position = 0;
    while (this.#position < size) {
      if (this.#budget <= 0) {
        this.#skipped += size - this.#position;
        this.#position = size;
        this.#decoder = new TextDecoder();
        this.#partial += this.mask.flush();
        this.#emitPartial();
        this.#isCut = !this.#endsLine();
        break;
      }
      const wanted = Math.min(this.#buffer.length, size - this.#position);
      const count = readSync(this.#fd, this.#buffer, 0, wanted, this.#position);
      if (count === 0) break;
      this.#position += count;
      this.#budget -= count;
      this.#split(this.#decoder.decode(this.#buffer.subarray(0, count), { stream: true }));
    }
    if (this.#skipped > 0 && this.#budget > 0) {
      this.#emit(`(${this.#skipped} bytes of output left out: too much at once)`);
      this.#skipped = 0;
    }
    if (this.erase) this.#eraseRead();
    else if (this.#position > FILE_LIMIT) this.#cutBack();
  }

  #cutBack(): void {
    ftruncateSync(this.#fd, 0);
    this.#position = 0;
  }

  /** A hole in the place of what was read: nothing that is written meanwhile is lost. The last byte stays, for who reads on. */
  #eraseRead(): void {
    if (this.#position === this.#erased) return;
    const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    if (this.#position > 1 && fallocate(this.#fd, mode, 0, this.#position - 1) < 0) this.#cutBack();
    this.#erased = this.#position;
  }

  #endsLine(): boolean {
    const count = readSync(this.#fd, this.#buffer, 0, 1, this.#position - 1);
    return count === 1 && this.#buffer[0] === 0x0a;
  }

  /** Stops following. The file stays. */
  close(): void {
    if (this.#timer) clearInterval(this.#timer);
    this.drain();
    this.#partial += this.mask.flush();
    this.#emitPartial();
    closeSync(this.#fd);
  }

  #poll(ms: number): void {
    if (this.#timer) clearInterval(this.#timer);
    this.#timer = setInterval(() => this.drain(), ms);
  }

  #pollSeldom(): void {
    this.#poll(this.erase ? MEMORY_POLL_MS : IDLE_POLL_MS);
    this.#timer?.unref();
  }

  #split(read: string): void {
    if (this.#isCut && this.mask.isEmpty) this.#isCut = false;
    if (this.#isCut) {
      const end = read.indexOf("\n");
      if (end < 0) return;
      read = read.slice(end + 1);
      this.#isCut = false;
    }
    const text = this.mask.push(read);
    const lines = (this.#partial + text).split("\n");
    this.#partial = lines.pop() ?? "";
    for (const line of lines) this.#emit(line);
    while (this.#partial.length > LINE_LIMIT) {
      this.#emit(this.#partial.slice(0, LINE_LIMIT));
      this.#partial = this.#partial.slice(LINE_LIMIT);
    }
  }

  #emit(line: string): void {
    this.onLine(line.endsWith("\r") ? line.slice(0, -1) : line);
  }
}

const followers = new Map<string, OutputFollower>();

/**
 * Follows an output file for as long as this process lives, or until `stopFollowing`: what the application prints after its
 * start hook has ended arrives too. A second call only changes who gets the lines.
 */
export function followOutput(path: string, onLine: LineSink, erase = false): OutputFollower {
  const known = followers.get(path);
  if (known) {
    known.onLine = onLine;
    return known;
  }
  const follower = new OutputFollower(path, onLine, erase);
  followers.set(path, follower);
  return follower;
}

/** Stops following a file. Harmless when it was not followed. */
export function stopFollowing(path: string): void {
  followers.get(path)?.close();
  followers.delete(path);
}
