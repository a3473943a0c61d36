/** Virtual time and chance: one seed, one story. */

/** A small, fast, seeded generator (mulberry32). */
export class Chance {
  private state: number;
  constructor(seed: number) {
    this.state = (seed ^ 0x9e3779b9) >>> 0;
    this.next();
    this.next();
  }
  /** From 0 up to 1. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let x = this.state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  }
  /** True with this probability. */
  is(probability: number): boolean {
    return this.next() < probability;
  }
  /** A number from `low` up to `high`. */
  between(low: number, high: number): number {
    return low + (high - low) * this.next();
  }
  /** One of these. */
  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.next() * list.length)]!;
  }
}

interface Entry {
  at: number;
  order: number;
  run: () => void;
}

/** A queue of things to happen, by virtual time, then by the order in which they were asked for. */
export class Clock {
  now = 0;
  private heap: Entry[] = [];
  private order = 0;

  at(time: number, run: () => void): void {
    const entry = { at: Math.max(time, this.now), order: this.order++, run };
    const heap = this.heap;
    let index = heap.length;
    heap.push(entry);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (before(heap[parent]!, entry)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = entry;
  }

  after(ms: number, run: () => void): void {
    this.at(this.now + ms, run);
  }

  /** Runs until `end`. */
  runUntil(end: number): void {
    while (this.heap.length > 0 && this.heap[0]!.at <= end) {
      const entry = this.pop();
      this.now = entry.at;
      entry.run();
    }
    this.now = Math.max(this.now, end);
  }

  private pop(): Entry {
    const heap = this.heap;
    const top = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return top;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (before(last, heap[child]!)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
    return top;
  }
}

/** What one node takes for the time: its clock starts anywhere, and goes a little fast or slow. */
export class NodeTime {
  private rate = 1;
  private base: number;
  private since = 0;
  /** The wall clock is that much ahead of the other, ms: it may jump. */
  wallOffset = 0;

  constructor(
    private readonly clock: Clock,
    base: number,
  ) {
    this.base = base;
  }

  /** Its monotonic clock, ms. */
  get now(): number {
    return this.base + Math.max(0, this.clock.now - this.since) * this.rate;
  }
  get wall(): number {
    return this.now + this.wallOffset;
  }
  /** How long its `ms` take in truth. */
  inTruth(ms: number): number {
    return ms / this.rate;
  }
  /** From now on it goes at this pace; 1 is right. */
  setRate(rate: number): void {
    this.base = this.now;
    this.since = Math.max(this.since, this.clock.now);
    this.rate = rate;
  }
  /** It stands still until then, and goes on where it was: nothing on the node can tell. */
  standStill(until: number): void {
    this.base = this.now;
    this.since = Math.max(this.since, until);
  }
  /** A machine that is switched on has a clock that goes, whatever stood still before. */
  goOn(): void {
    this.base = this.now;
    this.since = this.clock.now;
  }
}

function before(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
