/**
 * What a node remembers of what happened: one file for each module's log, one for its decisions, JSON objects a line.
 *
 * The daemon never waits for these files: lines are queued and written in order behind its back, and a full disk costs
 * the log, never the service. Each file is turned over at 8 MiB, one old part is kept.
 */
import { EventEmitter } from "node:events";
import { createReadStream } from "node:fs";
import { appendFile, mkdir, rename, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import type { LogLine } from "./engine.ts";

const FILE_BYTES_MAX = 8 << 20;

/** A file of JSON lines that grows behind the caller's back. */
class LineFile {
  #queue: string[] = [];
  #writing = false;

  constructor(readonly path: string) {}

  append(object: unknown): void {
    this.#queue.push(`${JSON.stringify(object)}\n`);
    if (!this.#writing) void this.#write();
  }

  async #write(): Promise<void> {
    this.#writing = true;
    while (this.#queue.length > 0) {
      const text = this.#queue.join("");
      this.#queue = [];
      try {
        await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
        const size = (await stat(this.path).catch(() => null))?.size ?? 0;
        if (size + text.length > FILE_BYTES_MAX) await rename(this.path, `${this.path}.1`);
        await appendFile(this.path, text, { mode: 0o600 });
      } catch (error) {
        console.error(
          `holdfast: ${this.path} cannot be written: ${(error as Error).message}; log lines are lost`,
        );
      }
    }
    this.#writing = false;
  }
}

/** The last `count` objects of a file and of its older part. */
async function tail(path: string, count: number): Promise<unknown[]> {
  const kept: unknown[] = [];
  for (const part of [`${path}.1`, path]) {
    if (!(await stat(part).catch(() => null))) continue;
    for await (const line of createInterface({ input: createReadStream(part) })) {
      try {
        kept.push(JSON.parse(line));
      } catch {
        continue; // A power cut tears the last line; the rest still tells its story.
      }
      if (kept.length > count) kept.shift();
    }
  }
  return kept;
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

  /** The last decisions, oldest first. */
  async decisions(count: number): Promise<unknown[]> {
    return await tail(this.#decisions.path, count);
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
      for (const line of await tail(this.#log.path, lines)) yield line as LogLine;
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
