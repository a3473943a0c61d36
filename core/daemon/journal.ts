/**
 * What a node remembers of what happened: one file for each module's log, one for its decisions, JSON objects a line.
 *
 * The daemon never waits for these files: lines are queued and written in order behind its back, and a full disk costs
 * the log, never the service. Each file is turned over at 8 MiB, one old part is kept.
 */
import { EventEmitter } from "node:events";
import { createReadStream } from "node:fs";
import { appendFile, mkdir, open, rename, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { SHARES } from "../explain/told.ts";
import type { LogLine } from "./engine.ts";

const FILE_BYTES_MAX = 8 << 20;
/** Lines that wait for a disk that hangs, at most: what comes after them is lost, and counted. */
const WAITING_MAX = 10_000;
/** Each object begins with its time. */
const TIME = /^\{"time":"([^"]+)"/;
/** So many decisions, and lines of the log, are told on either side of a time. */
const TOLD_DECISIONS = 1500;
const TOLD_LINES = 3000;
/** After every time. */
const LAST = "~";

/** A file of JSON lines that grows behind the caller's back. */
class LineFile {
  #queue: string[] = [];
  #lost = 0;
  #writing = false;
  /** What was there before this start may end in the middle of a line. */
  #isTorn = true;

  constructor(readonly path: string) {}

  append(object: unknown): void {
    if (this.#queue.length >= WAITING_MAX) this.#lost++;
    else this.#queue.push(`${JSON.stringify(object)}\n`);
    if (!this.#writing) void this.#write();
  }

  async #write(): Promise<void> {
    this.#writing = true;
    while (this.#queue.length > 0) {
      const text = this.#queue.join("");
      this.#queue = [];
      if (this.#lost > 0)
        console.error(
          `holdfast: ${this.path} could not be written for a while: ${this.#lost} lines are lost`,
        );
      this.#lost = 0;
      try {
        await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
        const size = (await stat(this.path).catch(() => null))?.size ?? 0;
        const end = this.#isTorn && size > 0 ? await this.#mend(size) : "";
        if (size + text.length > FILE_BYTES_MAX) await rename(this.path, `${this.path}.1`);
        await appendFile(this.path, end + text, { mode: 0o600 });
        this.#isTorn = false;
      } catch (error) {
        console.error(
          `holdfast: ${this.path} cannot be written: ${(error as Error).message}; log lines are lost`,
        );
      }
    }
    this.#writing = false;
  }

  /** A line that a power cut tore would take the next one with it. Returns what ends it. */
  async #mend(size: number): Promise<string> {
    const file = await open(this.path, "r");
    try {
      const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1);
      return buffer.toString() === "\n" ? "" : "\n";
    } finally {
      await file.close();
    }
  }
}

/** The lines of a file and of its older part. */
async function* linesOf(path: string): AsyncGenerator<string> {
  for (const part of [`${path}.1`, path]) {
    if (!(await stat(part).catch(() => null))) continue;
    const input = createReadStream(part);
    try {
      yield* createInterface({ input });
    } finally {
      input.destroy();
    }
  }
}

/** The objects of a file and of its older part, as they were written: the last `count` up to `until` (ISO time), and as many after it. */
async function tail(path: string, count: number, until = LAST): Promise<Record<string, unknown>[]> {
  const before: string[] = [];
  const after: string[] = [];
  for await (const line of linesOf(path)) {
    // Read whole only where it is wanted: a journal has tens of thousands.
    const time = TIME.exec(line)?.[1];
    if (time === undefined || time <= until) {
      before.push(line);
      if (before.length > count) before.shift();
    } else if (after.length < count) after.push(line);
    else break;
  }
  return [...before, ...after].flatMap((line) => {
    try {
      return [JSON.parse(line) as Record<string, unknown>];
    } catch {
      return []; // A power cut tears the last line; the rest still tells its story.
    }
  });
}

/** When the oldest object of a file was written, or null. */
async function beginning(path: string): Promise<string | null> {
  for await (const line of linesOf(path)) {
    const time = TIME.exec(line)?.[1];
    if (time !== undefined) return time;
  }
  return null;
}

/** The log and the decisions of one module (or of the node itself). */
export class Journal {
  readonly #log: LineFile;
  readonly #decisions: LineFile;
  readonly #live = new EventEmitter({ captureRejections: false }).setMaxListeners(0);

  /** `node` is this node's name, put into each line. */
  constructor(
    directory: string,
    private readonly node: string,
  ) {
    this.#log = new LineFile(join(directory, "module.log"));
    this.#decisions = new LineFile(join(directory, "decisions.log"));
  }

  /** Writes one line to the log, and to whoever follows it. */
  line(level: LogLine["level"], text: string): void {
    const line: LogLine = { time: new Date().toISOString(), node: this.node, level, text };
    this.#log.append(line);
    this.#live.emit("line", line);
  }

  /** Writes one decision of the failover core with the event that caused it: `holdfast explain` reads these. */
  decision(entry: Record<string, unknown>): void {
    this.#decisions.append({ time: new Date().toISOString(), node: this.node, ...entry });
  }

  /** What this node remembers around `at` (ISO time; null: of late), for `holdfast explain`. */
  async told(at: string | null): Promise<{ since: string | null; decisions: unknown[]; lines: unknown[] }> {
    const until = at ?? undefined;
    const [since, decisions, lines] = await Promise.all([
      beginning(this.#decisions.path),
      tail(this.#decisions.path, TOLD_DECISIONS, until),
      tail(this.#log.path, TOLD_LINES, until),
    ]);
    const telling = lines.filter(
      ({ level, text }) => level !== "info" && (level !== "event" || SHARES.test(String(text))),
    );
    return { since, decisions, lines: telling };
  }

  /** The last `lines` lines, then, when `follow`, each new one until `signal` aborts. */
  async *read(lines: number, follow: boolean, signal?: AbortSignal): AsyncGenerator<LogLine> {
    const fresh: LogLine[] = [];
    let wake = (): void => undefined;
    const onLine = (line: LogLine): void => {
      fresh.push(line);
      wake();
    };
    if (follow) this.#live.on("line", onLine);
    const onAbort = (): void => wake();
    signal?.addEventListener("abort", onAbort);
    try {
      for (const line of await tail(this.#log.path, lines)) yield line as unknown as LogLine;
      while (follow && !signal?.aborted) {
        const next = fresh.shift();
        if (next) yield next;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      this.#live.off("line", onLine);
      signal?.removeEventListener("abort", onAbort);
    }
  }
}
