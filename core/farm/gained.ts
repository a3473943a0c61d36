/**
 * Which buckets came to this node from another: their flows may still be there, and the filter asks. Pure.
 */
import type { Filter } from "./filter.ts";

/** For so long after a bucket came here its flows may be where it was, ms: UDP exchanges (as long as one is remembered), TCP connections. */
const UDP_MOVED_MS = 180_000;
const TCP_MOVED_MS = 86_400_000;

/** Of each bucket that was gained, its former node and when that was, as it is kept. */
export type Gained = [bucket: number, former: string, at: number][];

/** See the top of the file. Times are ms of any one clock. */
export class GainedBuckets {
  readonly #gained = new Map<number, { former: string; at: number }>();

  /** `keep` is given all of them after each change. */
  constructor(private readonly keep: (gained: Gained) => void) {}

  clear(): void {
    this.#gained.clear();
    this.keep([]);
  }

  /** Goes on with those that were kept. None is from later than `now`, though a clock was set. */
  restore(gained: Gained, now: number): void {
    for (const [bucket, former, at] of gained) this.#gained.set(bucket, { former, at: Math.min(at, now) });
  }

  /** `before`, `after`: by bucket, which node it belongs to; `node` is this one. */
  note(node: string, before: readonly string[], after: readonly string[], now: number): void {
    let isChanged = false;
    for (const [bucket, owner] of after.entries()) {
      const former = before[bucket];
      if (owner !== node) isChanged = this.#gained.delete(bucket) || isChanged;
      else if (former !== undefined && former !== node) {
        this.#gained.set(bucket, { former, at: now });
        isChanged = true;
      }
    }
    if (isChanged) this.keep([...this.#gained].map(([bucket, { former, at }]) => [bucket, former, at]));
  }

  /** Of what was gained, what may still be at a node of `present`, as the filter wants it: nodes by their place in `order`. */
  formerIn(order: readonly string[], present: ReadonlyMap<string, unknown>, now: number): Filter["former"] {
    return new Map(
      [...this.#gained].flatMap(([bucket, { former, at }]) =>
        present.has(former) && now - at < TCP_MOVED_MS
          ? [[bucket, { number: order.indexOf(former), udp: now - at < UDP_MOVED_MS }] as const]
          : [],
      ),
    );
  }
}
