/**
 * A witness over any store with compare-and-swap: etcd, a bucket. What is written where is the store's; when it may be written is decided by `LeaseWatch`.
 */
import { sharedClock } from "../platform/shared_clock.ts";
import { reasonOf } from "./http.ts";
import { type Cell, LeaseWatch, type Verdict } from "./lease_watch.ts";
import { emptyRecord, newMark, type StoredRecord, shown } from "./stored_record.ts";
import {
  ABSENT,
  NO_RECORD,
  type ProbeAnswer,
  type ReadAnswer,
  type RecordAnswer,
  type RecordingWitness,
  type RenewAnswer,
  type Unknown,
  type WitnessRecord,
} from "./witness.ts";

/** What came of a compare-and-swap: it was written, or this is there instead. */
export type Swapped<Tag> = { tag: Tag } | { conflict: Cell<Tag> };

/** Where records are kept. Everything rejects when there is no clear answer. */
export interface RecordStore<Tag> {
  readonly name: string;
  /** The record as it is now, never an older one. */
  read(module: string, signal: AbortSignal): Promise<Cell<Tag>>;
  /** Replaces what `tag` names (null: nothing) and nothing else. `keepsLease`: the lease that goes with the record is not touched. */
  swap(
    module: string,
    tag: Tag | null,
    record: StoredRecord,
    keepsLease: boolean,
    signal: AbortSignal,
  ): Promise<Swapped<Tag>>;
  /** What answered, in a few words. */
  probe(signal: AbortSignal): Promise<string>;
}

/** What `StoredWitness` needs to know. */
export interface StoredWitnessOptions {
  node: string;
  /** For each call, ms. */
  deadlineMs: number;
  /** How long a lease of this cluster is, until one is asked for, ms. */
  leaseMs: number;
  /** ms. */
  clock?: () => number;
}

interface Module<Tag> {
  watch: LeaseWatch;
  /** As it was last seen; null: not known. */
  cell: Cell<Tag> | null;
  /** One call after the other, so that a node does not compete with itself. */
  last: Promise<unknown>;
}

/** Somebody else writes all the time: the answer is unclear, and the caller asks again. */
const MOST_CONFLICTS = 4;

/** See the top of the file. */
export class StoredWitness<Tag> implements RecordingWitness {
  readonly records = true;
  readonly #modules = new Map<string, Module<Tag>>();
  readonly #closing = new AbortController();
  readonly #clock: () => number;

  constructor(
    private readonly store: RecordStore<Tag>,
    private readonly options: StoredWitnessOptions,
  ) {
    this.#clock = options.clock ?? sharedClock;
  }

  get name(): string {
    return this.store.name;
  }

  renew(module: string, leaseMs: number): Promise<RenewAnswer> {
    return this.#change<RenewAnswer>(module, true, (watch, cell) => {
      const now = this.#clock();
      const verdict = watch.judge(cell, now);
      if (!verdict.may)
        return {
          answer: {
            kind: "refused",
            holder: verdict.holder,
            why: verdict.why,
            record: cell.record === null ? NO_RECORD : shown(cell.record, verdict.holder),
          },
        };
      return {
        record: { ...(watch.carried(cell.record, now) ?? emptyRecord()), holder: this.options.node, leaseMs },
        keepsLease: false,
        written: (record) => {
          watch.granted(now + leaseMs, leaseMs);
          return { kind: "granted", sentAt: now, record: shown(record, this.options.node) };
        },
      };
    });
  }

  recordSole(
    module: string,
    sole: string | null,
    generation: string,
    expected: string,
  ): Promise<RecordAnswer> {
    return this.#change<RecordAnswer>(module, false, (watch, cell) => {
      const now = this.#clock();
      const verdict = watch.judge(cell, now);
      const current = watch.carried(cell.record, now) ?? emptyRecord();
      const holder = this.#holder(watch, verdict, now);
      const seen = shown(current, holder);
      if (current.sole === sole && current.generation === generation)
        return { answer: { kind: "recorded", record: seen } };
      if (!verdict.may) return { answer: { kind: "refused", why: verdict.why, record: seen } };
      if (current.mark !== expected)
        return { answer: { kind: "refused", why: changedMeanwhile(seen), record: seen } };
      return {
        record: { ...current, sole, generation, mark: newMark() },
        keepsLease: true,
        written: (record) => ({ kind: "recorded", record: shown(record, holder) }),
      };
    });
  }

  read(module: string): Promise<ReadAnswer> {
    return this.#call<ReadAnswer>(module, async (known, signal) => {
      const cell = await this.#look(known, module, signal);
      if (cell.record === null) return { kind: "record", record: NO_RECORD };
      const now = this.#clock();
      const holder = this.#holder(known.watch, known.watch.judge(cell, now), now);
      return { kind: "record", record: shown(cell.record, holder) };
    });
  }

  async release(module: string): Promise<boolean> {
    const answer = await this.#change<{ kind: "released" } | Unknown>(module, false, (watch, cell) => {
      // Whatever comes of it, this node does not use the lease any more.
      watch.lost();
      if (cell.record?.holder !== this.options.node) return { answer: { kind: "released" } };
      return {
        record: { ...cell.record, holder: null, leaseMs: 0 },
        keepsLease: false,
        written: () => ({ kind: "released" }),
      };
    });
    return answer.kind === "released";
  }

  async probe(): Promise<ProbeAnswer> {
    try {
      return { answers: true, detail: await this.store.probe(this.#deadline()) };
    } catch (error) {
      return { answers: false, detail: reasonOf(error) };
    }
  }

  close(): void {
    this.#closing.abort();
  }

  /** Who holds the lease, as far as this node can tell. */
  #holder(watch: LeaseWatch, verdict: Verdict, now: number): string | null {
    if (!verdict.may) return verdict.holder;
    return watch.holds(now) ? this.options.node : null;
  }

  #deadline(): AbortSignal {
    return AbortSignal.any([this.#closing.signal, AbortSignal.timeout(this.options.deadlineMs)]);
  }

  #module(module: string): Module<Tag> {
    let known = this.#modules.get(module);
    if (!known) {
      const { node, leaseMs } = this.options;
      known = { watch: new LeaseWatch(node, leaseMs), cell: null, last: Promise.resolve() };
      this.#modules.set(module, known);
    }
    return known;
  }

  /** Runs `work` after what is under way for the module, within this call's deadline. */
  async #call<Answer>(
    module: string,
    work: (known: Module<Tag>, signal: AbortSignal) => Promise<Answer>,
  ): Promise<Answer | Unknown> {
    const known = this.#module(module);
    const signal = this.#deadline();
    const mine = known.last.then(async () => {
      signal.throwIfAborted();
      return await work(known, signal);
    });
    known.last = mine.catch(() => undefined);
    try {
      return await mine;
    } catch (error) {
      // What was asked for may have happened, or may still: what is known of the record is not the latest any more.
      known.cell = null;
      return { kind: "unknown", why: `${this.name}: ${reasonOf(error)}` };
    }
  }

  async #look(known: Module<Tag>, module: string, signal: AbortSignal): Promise<Cell<Tag>> {
    return this.#saw(known, await this.store.read(module, signal));
  }

  #saw(known: Module<Tag>, cell: Cell<Tag>): Cell<Tag> {
    known.watch.sees(cell.record, this.#clock());
    known.cell = cell;
    return cell;
  }

  /** Decides on the record as it is, and writes; again when another was quicker. `trusts`: who holds the lease need not look first. */
  #change<Answer>(
    module: string,
    trusts: boolean,
    decide: (watch: LeaseWatch, cell: Cell<Tag>) => Decision<Answer>,
  ): Promise<Answer | Unknown> {
    return this.#call<Answer>(module, async (known, signal) => {
      const { watch } = known;
      let cell =
        trusts && known.cell !== null && watch.holds(this.#clock())
          ? known.cell
          : await this.#look(known, module, signal);
      for (let tries = 0; tries < MOST_CONFLICTS; tries++) {
        const decision = decide(watch, cell);
        if ("answer" in decision) return decision.answer;
        const next = { ...decision.record, count: decision.record.count + 1, write: newMark() };
        const swapped = await this.store.swap(module, cell.tag, next, decision.keepsLease, signal);
        if ("tag" in swapped || swapped.conflict.record?.write === next.write) {
          const tag = "tag" in swapped ? swapped.tag : swapped.conflict.tag;
          known.cell = { record: next, tag, isLapsed: false };
          watch.wrote(next, this.#clock());
          return decision.written(next);
        }
        cell = this.#saw(known, swapped.conflict);
      }
      throw new Error("the record changes faster than it can be written");
    });
  }
}

/** What to answer at once, or what to write and then answer. */
type Decision<Answer> =
  | { answer: Answer }
  | { record: StoredRecord; keepsLease: boolean; written(record: StoredRecord): Answer };

function changedMeanwhile({ version, sole, generation }: WitnessRecord): string {
  if (version === ABSENT) return "the witness has no record any more";
  return sole === null
    ? `the record was changed: both are of generation ${generation}`
    : `the record was changed: ${sole} alone may go on from generation ${generation}`;
}
