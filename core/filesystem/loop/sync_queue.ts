/**
 * Syncs that the pool does for SECOND: at most one at a time of one object, all that ask meanwhile share the next.
 *
 * The loop goes on applying while a sync runs. A sync that begins after the ask covers everything applied before the ask, so
 * sharing is safe; joining one that already runs would not be.
 */
import { F_DUPFD_CLOEXEC } from "../../platform/linux/constants.ts";
import { close, fcntl } from "../../platform/linux/libc.ts";
import { monotonic } from "./poll_loop.ts";
import type { Completion, Pool } from "./pool.ts";
import { Job } from "./pool.ts";
import type { PromptSyncs } from "./prompt_syncs.ts";

/** Hears how a sync ended: 0 or a positive errno. */
export type SyncDone = (ticket: number, errno: number) => void;

/** One object's syncs. Used again for another object when it is done: nothing is allocated for a sync. */
class Entry {
  /** 0: free. */
  id = 0;
  fd = -1;
  dataOnly = false;
  running: number[] = [];
  waiting: number[] = [];
  waitingDataOnly = true;
  postponed = false;
  begunAt = 0;

  /** `slot`: its place in the list, and what the pool knows it by. */
  constructor(readonly slot: number) {}

  /** Those that wait run now. */
  advance(): void {
    const done = this.running;
    done.length = 0;
    this.running = this.waiting;
    this.waiting = done;
    this.dataOnly = this.waitingDataOnly;
    this.waitingDataOnly = true;
  }
}

/** See the top of the file. */
export class SyncQueue implements Completion {
  readonly #pool: Pool;
  readonly #done: SyncDone;
  readonly #rule: PromptSyncs | null;
  readonly #entries: Entry[] = [];
  #busy = 0;
  #postponed = 0;

  /** `rule` hears how long each took. */
  constructor(pool: Pool, done: SyncDone, rule: PromptSyncs | null = null) {
    this.#pool = pool;
    this.#done = done;
    this.#rule = rule;
  }

  /** True when nothing is under way. */
  get idle(): boolean {
    return this.#busy === 0;
  }

  /** Syncs the open object behind `fd`, which stays the caller's; `done` hears `ticket`. */
  sync(id: number, fd: number, dataOnly: boolean, ticket: number): void {
    const entry = this.#find(id);
    if (entry !== null) {
      entry.waiting.push(ticket);
      if (!dataOnly) entry.waitingDataOnly = false;
      return;
    }
    const own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (own < 0) {
      this.#done(ticket, -own);
      return;
    }
    this.#begin(id, own, dataOnly, ticket);
  }

  /** Tries again what the full pool could not take. Call once a turn. */
  retry(): void {
    if (this.#postponed === 0) return;
    this.#postponed = 0;
    for (const entry of this.#entries) {
      if (!entry.postponed) continue;
      entry.postponed = false;
      this.#submit(entry);
    }
  }

  completed(slot: number, result: number): void {
    const entry = this.#entries[slot]!;
    this.#rule?.took(monotonic() - entry.begunAt);
    const tickets = entry.running;
    const errno = result < 0 ? -result : 0;
    // Who hears of it may ask for the next sync of the same object: that one must not join this.
    for (let at = 0; at < tickets.length; at++) this.#done(tickets[at]!, errno);
    entry.advance();
    if (entry.running.length > 0) this.#submit(entry);
    else this.#end(entry);
  }

  #find(id: number): Entry | null {
    for (let slot = 0; slot < this.#entries.length; slot++)
      if (this.#entries[slot]!.id === id) return this.#entries[slot]!;
    return null;
  }

  #begin(id: number, fd: number, dataOnly: boolean, ticket: number): void {
    let entry = this.#find(0);
    if (entry === null) {
      entry = new Entry(this.#entries.length);
      this.#entries.push(entry);
    }
    entry.id = id;
    entry.fd = fd;
    entry.dataOnly = dataOnly;
    entry.running.push(ticket);
    this.#busy++;
    this.#submit(entry);
  }

  #end(entry: Entry): void {
    close(entry.fd);
    entry.id = 0;
    this.#busy--;
  }

  #submit(entry: Entry): void {
    const kind = entry.dataOnly ? Job.FDATASYNC : Job.FSYNC;
    entry.begunAt = monotonic();
    if (this.#pool.submit(kind, entry.fd, 0, 0, 0, this, entry.slot)) return;
    entry.postponed = true;
    this.#postponed++;
  }
}
