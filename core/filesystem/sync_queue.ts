/**
 * Syncs that the pool does for SECOND: at most one at a time of one object, all that ask meanwhile share the next.
 *
 * The loop goes on applying while a sync runs. A sync that begins after the ask covers everything applied before the ask, so
 * sharing is safe; joining one that already runs would not be.
 */
import { F_DUPFD_CLOEXEC } from "../platform/linux/constants.ts";
import { close, fcntl } from "../platform/linux/libc.ts";
import type { Completion, Pool } from "./pool.ts";
import { Job } from "./pool.ts";

/** Hears how a sync ended: 0 or a positive errno. */
export type SyncDone = (ticket: number, errno: number) => void;

/** One object's syncs. */
interface Entry {
  id: number;
  fd: number;
  dataOnly: boolean;
  running: number[];
  waiting: number[];
  waitingDataOnly: boolean;
}

/** See the top of the file. */
export class SyncQueue implements Completion {
  readonly #pool: Pool;
  readonly #done: SyncDone;
  readonly #entries = new Map<number, Entry>();
  /** Entries by cookie: the pool carries numbers only. */
  readonly #running = new Map<number, Entry>();
  readonly #postponed: Entry[] = [];
  #cookie = 0;

  constructor(pool: Pool, done: SyncDone) {
    this.#pool = pool;
    this.#done = done;
  }

  /** True when nothing is under way. */
  get idle(): boolean {
    return this.#entries.size === 0;
  }

  /** Syncs the open object behind `fd`, which stays the caller's; `done` hears `ticket`. */
  sync(id: number, fd: number, dataOnly: boolean, ticket: number): void {
    const entry = this.#entries.get(id);
    if (entry !== undefined) {
      entry.waiting.push(ticket);
      if (!dataOnly) entry.waitingDataOnly = false;
      return;
    }
    const own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (own < 0) {
      this.#done(ticket, -own);
      return;
    }
    const fresh: Entry = { id, fd: own, dataOnly, running: [ticket], waiting: [], waitingDataOnly: true };
    this.#entries.set(id, fresh);
    this.#submit(fresh);
  }

  /** Tries again what the full pool could not take. Call once a turn. */
  retry(): void {
    const postponed = this.#postponed.splice(0);
    for (const entry of postponed) this.#submit(entry);
  }

  completed(cookie: number, result: number): void {
    const entry = this.#running.get(cookie)!;
    this.#running.delete(cookie);
    const tickets = entry.running;
    if (entry.waiting.length > 0) {
      entry.running = entry.waiting;
      entry.dataOnly = entry.waitingDataOnly;
      entry.waiting = [];
      entry.waitingDataOnly = true;
      this.#submit(entry);
    } else {
      this.#entries.delete(entry.id);
      close(entry.fd);
    }
    for (const ticket of tickets) this.#done(ticket, result < 0 ? -result : 0);
  }

  #submit(entry: Entry): void {
    const cookie = ++this.#cookie;
    this.#running.set(cookie, entry);
    const kind = entry.dataOnly ? Job.FDATASYNC : Job.FSYNC;
    if (this.#pool.submit(kind, entry.fd, 0, 0, 0, this, cookie)) return;
    this.#running.delete(cookie);
    this.#postponed.push(entry);
  }
}
