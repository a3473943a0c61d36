/** The activity log as a stream of bytes: what was recorded, what is on its way to the disk, what is durable, and when to start anew. */
import { FILE_HEADER_BYTES, fileHeader, RecordWriter } from "./records.ts";

/** A log shorter than this is not worth rewriting. */
const SMALL_LOG_BYTES = 1024 * 1024;

/** Bytes to append to activity.log at `at`; once they are durable, everything up to position `upTo` is. */
export interface LogPiece {
  bytes: Uint8Array;
  at: number;
  upTo: number;
}

/** Positions count through all rewrites: none comes twice, and a later one is durable after an earlier one. */
export class ActivityLog {
  readonly #writer: RecordWriter;
  #durable = 0;
  #taken = 0;
  #epochStart = 0;
  #mapBytes = 0;
  #rewriting = false;
  #mustRewrite = true;

  /** `epoch`: of the last files, 0 if there are none. */
  constructor(epoch: number) {
    this.#writer = new RecordWriter(epoch, 0);
  }

  /** Where to add records. */
  get records(): RecordWriter {
    return this.#writer;
  }
  /** Position after the last record. */
  get position(): number {
    return this.#taken + this.#writer.length;
  }

  isDurable(position: number): boolean {
    return position <= this.#durable;
  }

  /** What to append next; null: nothing, or a rewrite comes first. */
  take(): LogPiece | null {
    if (this.#writer.length === 0 || this.#rewriting || this.#mustRewrite) return null;
    const at = FILE_HEADER_BYTES + this.#taken - this.#epochStart;
    this.#taken = this.position;
    return { bytes: this.#writer.take(this.#taken - this.#epochStart), at, upTo: this.#taken };
  }

  /** What `take` gave up to here is durable. */
  written(upTo: number): void {
    this.#durable = Math.max(this.#durable, upTo);
  }

  /** The map must be written even if the log is short: it is to say less than the files do. */
  demandRewrite(): void {
    this.#mustRewrite = true;
  }

  get wantsRewrite(): boolean {
    const bytes = this.#taken - this.#epochStart;
    return this.#mustRewrite || (bytes > SMALL_LOG_BYTES && bytes > 4 * this.#mapBytes);
  }

  /** Starts a new epoch with a whole map, which says all that was recorded so far. */
  startRewrite(map: (epoch: number) => Uint8Array): Uint8Array {
    this.#rewriting = true;
    this.#mustRewrite = false;
    this.#taken = this.position;
    this.#writer.epoch++;
    this.#writer.take(0);
    const bytes = map(this.#writer.epoch);
    this.#mapBytes = bytes.length;
    return bytes;
  }

  /** The map is durable. Returns the header of the new log. */
  rewritten(): Uint8Array {
    this.#rewriting = false;
    this.#epochStart = this.#durable = this.#taken;
    return fileHeader(this.#writer.epoch);
  }
}
