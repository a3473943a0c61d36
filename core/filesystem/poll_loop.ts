/**
 * The one loop of the replication process: poll(2) over all that it serves, a deadline, and a flush at the end of each turn.
 *
 * Bun's own event loop never runs here: a turn of it costs more than a write takes, and its timers would stand still anyway.
 */
import { POLLIN, PollSet } from "../platform/linux/sockets.ts";

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

/** Sources that are polled together. */
export class PollLoop {
  readonly #poll = new PollSet(256);
  readonly #sources: PollSource[] = [];
  readonly #places: number[] = [];
  readonly #polled: PollSource[] = [];
  #stopped = false;

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
    if (this.#poll.wait(Math.min(timeoutMs, 60_000)) > 0) this.#serve(count);
    return end.afterTurn(monotonic());
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
