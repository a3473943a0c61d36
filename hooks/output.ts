/**
 * What hooks print, line by line, through a file instead of a pipe.
 *
 * An application that a hook starts keeps the hook's output for its whole life. On a pipe it would be killed by SIGPIPE
 * when the daemon restarts, or stop when nobody reads. A file in append mode takes everything; whoever runs follows it and
 * cuts it back.
 */
import { closeSync, constants, fstatSync, ftruncateSync, openSync, readSync } from "node:fs";

const LINE_LIMIT = 8 * 1024;
/** Cut back once this much was read. */
const FILE_LIMIT = 1024 * 1024;
/** Text handed on at once, and refilled in a second: a hook that prints without end must not flood the log. */
const BURST = 1024 * 1024;
const REFILL_PER_MS = 64;
const BUSY_POLL_MS = 30;
const IDLE_POLL_MS = 1000;

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
  #runs = 0;
  #timer: ReturnType<typeof setInterval> | null = null;
  onLine: LineSink;

  /** Opens (or makes, mode 0600) the file and starts at its present end. Throws when it cannot. */
  constructor(path: string, onLine: LineSink) {
    this.#fd = openSync(
      path,
      constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW,
      0o600,
    );
    this.#position = fstatSync(this.#fd).size;
    this.onLine = onLine;
    this.#poll(IDLE_POLL_MS);
  }

  /** A hook starts to write: look often. */
  begin(): void {
    this.#runs++;
    this.#poll(BUSY_POLL_MS);
  }

  /** It ended: hand on what it printed, then look seldom. */
  end(): void {
    this.drain();
    if (this.#partial !== "") this.#emit(this.#partial);
    this.#partial = "";
    if (--this.#runs === 0) this.#poll(IDLE_POLL_MS);
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
    if (this.#position > FILE_LIMIT) {
      ftruncateSync(this.#fd, 0);
      this.#position = 0;
    }
  }

  /** Stops following. The file stays. */
  close(): void {
    if (this.#timer) clearInterval(this.#timer);
    this.drain();
    closeSync(this.#fd);
  }

  #poll(ms: number): void {
    if (this.#timer) clearInterval(this.#timer);
    this.#timer = setInterval(() => this.drain(), ms);
    if (ms === IDLE_POLL_MS) this.#timer.unref();
  }

  #split(text: string): void {
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
export function followOutput(path: string, onLine: LineSink): OutputFollower {
  const known = followers.get(path);
  if (known) {
    known.onLine = onLine;
    return known;
  }
  const follower = new OutputFollower(path, onLine);
  followers.set(path, follower);
  return follower;
}

/** Stops following a file. Harmless when it was not followed. */
export function stopFollowing(path: string): void {
  followers.get(path)?.close();
  followers.delete(path);
}
