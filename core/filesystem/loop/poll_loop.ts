/**
 * The one loop of the replication process: poll(2) over all that it serves, a deadline, and a flush at the end of each turn.
 *
 * Bun's own event loop never runs here: a turn of it costs more than a write takes, and its timers would stand still anyway.
 */
import { availableParallelism } from "node:os";
import { POLLIN, PollSet } from "../../platform/linux/sockets.ts";

/** Something with a descriptor. */
export interface PollSource {
  /** The descriptor, or -1 when there is nothing to wait for now. */
  readonly fd: number;
  /** POLL* bits to wait for; 0 waits for errors only. */
  events(): number;
  onReady(ready: number, now: number): void;
}

/** What happens once a turn, after all sources were served. */
export interface TurnEnd {
  /** Returns the time (in the loop's clock, ms) at which it wants to be called again though nothing is ready. */
  afterTurn(now: number): number;
}

/** The loop's clock: monotonic ms. */
export const monotonic = (): number => performance.now();

/**
 * Asking again for so long, ms, is cheaper than to fall asleep and be woken: an application that waits for each answer has its next request
 * ready sooner than that.
 */
const AWAKE = 0.02;
/** While that was in vain more often than not, only every so many turns try it. */
const TRY_EVERY = 16;
const MOST_LUCK = 8;

/** Sources that are polled together. */
export class PollLoop {
  readonly #poll = new PollSet(256);
  readonly #sources: PollSource[] = [];
  readonly #places: number[] = [];
  readonly #polled: PollSource[] = [];
  #stopped = false;
  /** Up when staying awake paid, down when it did not. On one processor it never does: who would answer cannot run. */
  #luck = 0;
  readonly #mayStayAwake = availableParallelism() > 1;
  #turns = 0;

  /** Begins to poll `source`. */
  add(source: PollSource): void {
    this.#sources.push(source);
  }

  /** Stops polling `source`. */
  remove(source: PollSource): void {
    const at = this.#sources.indexOf(source);
    if (at >= 0) this.#sources.splice(at, 1);
  }

  /** Makes `run` return after this turn. */
  stop(): void {
    this.#stopped = true;
  }

  /** Serves until `stop`. */
  run(end: TurnEnd): void {
    let wake = 0;
    while (!this.#stopped) wake = this.turn(end, Math.max(0, Math.ceil(wake - monotonic())));
  }

  /** One turn: waits at most `timeoutMs`. Returns when the next one is due. */
  turn(end: TurnEnd, timeoutMs: number): number {
    const count = this.#sources.length;
    this.#poll.clear();
    for (let at = 0; at < count; at++) {
      const source = this.#sources[at]!;
      this.#places[at] = source.fd < 0 ? -1 : this.#poll.add(source.fd, source.events());
    }
    if (this.#stayAwake(timeoutMs) || this.#poll.wait(Math.min(timeoutMs, 60_000)) > 0) this.#serve(count);
    return end.afterTurn(monotonic());
  }

  /** Asks a few times without sleeping. True when something is ready. */
  #stayAwake(timeoutMs: number): boolean {
    if (timeoutMs === 0 || !this.#mayStayAwake) return false;
    if (this.#luck <= 0 && ++this.#turns % TRY_EVERY !== 0) return false;
    const until = monotonic() + AWAKE;
    do
      if (this.#poll.wait(0) > 0) {
        this.#luck = Math.min(this.#luck + 1, MOST_LUCK);
        return true;
      }
    while (monotonic() < until);
    this.#luck = Math.max(this.#luck - 1, -1);
    return false;
  }

  #serve(count: number): void {
    const now = monotonic();
    // A source may add or remove others while it is served: what was polled is held here, not the live list.
    for (let at = 0; at < count; at++) this.#polled[at] = this.#sources[at]!;
    for (let at = 0; at < count; at++) {
      const ready = this.#poll.ready(this.#places[at]!);
      if (ready !== 0 && this.#sources.includes(this.#polled[at]!)) this.#polled[at]!.onReady(ready, now);
    }
    this.#polled.length = 0;
  }
}

/** Polled for input only. */
export const forInput = (): number => POLLIN;
