/**
 * PRIM: this disk's half of the application's syncs. The peer is asked first; what came in one turn of the loop begins when that has left.
 *
 * The pool does them, but one that is quick and that nobody else waits for is done at once: see prompt_syncs.ts.
 */
import { fdatasync, fsync } from "../../platform/linux/libc.ts";
import type { Memory } from "../../platform/linux/memory.ts";
import { POLLIN, PollSet } from "../../platform/linux/sockets.ts";
import { monotonic } from "../loop/poll_loop.ts";
import { type Completion, Job } from "../loop/pool.ts";
import { PromptSyncs } from "../loop/prompt_syncs.ts";
import { PerNode } from "./node_table.ts";
import { LINES } from "./pending.ts";
import type { Session } from "./session.ts";

/** More bytes than that are not counted. */
const MOST_COUNTED = 1 << 30;

/** Those of one session. */
export class LocalSyncs implements Completion {
  readonly #session: Session;
  readonly #clock: () => number;
  readonly #rule = new PromptSyncs();
  readonly #asking = new PollSet(1);
  /** Bytes written since the last sync. */
  readonly #unsynced = new PerNode();
  /** Lines of those that have not begun. */
  readonly #due = new Int32Array(LINES);
  #count = 0;
  /* By line. */
  readonly #fds = new Int32Array(LINES);
  readonly #jobs = new Uint8Array(LINES);
  readonly #bytes = new Int32Array(LINES);
  readonly #begunAt = new Float64Array(LINES);

  /** `clock`: monotonic ms. */
  constructor(session: Session, clock: () => number = monotonic) {
    this.#session = session;
    this.#clock = clock;
  }

  /** So many bytes of a node were written. */
  wrote(index: number, bytes: number): void {
    this.#unsynced.set(index, Math.min(this.#unsynced.get(index) + bytes, MOST_COUNTED));
  }

  /** A node is to be synced through `fd`, which is held until that is done; the reply waits in this line of the pending ones. */
  add(line: number, index: number, fd: number, dataOnly: boolean): void {
    this.#due[this.#count++] = line;
    this.#fds[line] = fd;
    this.#jobs[line] = dataOnly ? Job.FDATASYNC : Job.FSYNC;
    this.#bytes[line] = this.#unsynced.get(index);
    this.#unsynced.set(index, 0);
  }

  /** Begins what was added. Once a turn, after the peer was asked; what the full pool did not take is tried again then. */
  begin(): void {
    if (this.#count === 0) return;
    const first = this.#due[0]!;
    if (this.#session.ended) this.#count = 0;
    else if (this.#count === 1 && this.#rule.allow(this.#bytes[first]!) && this.#isAlone()) {
      this.#count = 0;
      this.#syncNow(first);
    } else this.#submit();
  }

  completed(line: number, result: number, data: Memory): void {
    this.#rule.took(this.#clock() - this.#begunAt[line]!);
    this.#session.pending.completed(line, result, data);
  }

  /** Does nobody wait for the loop but who asked for the sync? */
  #isAlone(): boolean {
    const { isParked, pending } = this.#session;
    return !isParked && pending.count === 1 && !this.#isAsked();
  }

  /** Does a request wait to be read? */
  #isAsked(): boolean {
    this.#asking.clear();
    this.#asking.add(this.#session.fd, POLLIN);
    return this.#asking.wait(0) > 0;
  }

  #syncNow(line: number): void {
    const fd = this.#fds[line]!;
    const began = this.#clock();
    const result = this.#jobs[line] === Job.FDATASYNC ? fdatasync(fd) : fsync(fd);
    this.#rule.took(this.#clock() - began);
    // Before the answer, after which who asked may ask again.
    if (this.#isAsked()) this.#rule.disturbed();
    this.#session.pending.synced(line, result);
  }

  #submit(): void {
    const { pool } = this.#session;
    const now = this.#clock();
    let begun = 0;
    for (; begun < this.#count; begun++) {
      const line = this.#due[begun]!;
      if (!pool.submit(this.#jobs[line]!, this.#fds[line]!, 0, 0, 0, this, line)) break;
      this.#begunAt[line] = now;
    }
    this.#due.copyWithin(0, begun, this.#count);
    this.#count -= begun;
  }
}
