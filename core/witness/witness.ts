/**
 * What a witness is to the daemon: a third party that keeps one record for each module of a cluster, and lends one node at a time the right to run it.
 *
 * The record decides which copy of the data may go on (G3, G4a): no clock is trusted for it, only compare-and-swap. The lease decides who may run (G4b):
 * it ends by itself, on the clock of whoever was granted it, counted from when the request was sent. Whoever else is granted one can only be so later.
 *
 * Every call ends by its own deadline and never throws for trouble with the network: no answer, or one that says nothing, is `unknown`.
 */

/** What the witness keeps for one module. */
export interface WitnessRecord {
  /** The generation of the data that `sole` was recorded with; null before the first. */
  generation: string | null;
  /** Who alone may go on from this generation; null: both copies are of it, as far as the witness was told. */
  sole: string | null;
  /** Who holds the lease, as far as this side can tell; null: nobody. */
  holder: string | null;
  /** For compare-and-swap: changes with every `recordSole` that was recorded, and never with a lease. Opaque; `ABSENT` where there is no record. */
  version: string;
}

/**
 * `version` where the witness has no record of the module. To a node that never saw one it is new; to one that did, the witness lost its memory, and what the
 * record said may still be true: that node may go on only from what it knows itself.
 */
export const ABSENT = "absent";

/** A record where there is none. */
export const NO_RECORD: WitnessRecord = { generation: null, sole: null, holder: null, version: ABSENT };

/** The witness gave no answer, or an unclear one: what was asked for may have happened, and may still happen later. */
export interface Unknown {
  kind: "unknown";
  /** For the log: what went wrong, where. */
  why: string;
}

/**
 * The answer to `renew`.
 *
 * granted: the lease lasts from `sentAt` (ms of `sharedClock`, which counts a suspended machine too) for the `leaseMs` asked for, less what the clocks may drift.
 * refused: `holder` has it; null: nobody, but the witness grants nothing yet (it lost its memory, or this side has not watched it for a lease).
 */
export type RenewAnswer =
  | { kind: "granted"; sentAt: number; record: WitnessRecord }
  | { kind: "refused"; holder: string | null; why: string; record: WitnessRecord }
  | Unknown;

/** The answer to `recordSole`. refused: `record` is what is there instead. */
export type RecordAnswer =
  | { kind: "recorded"; record: WitnessRecord }
  | { kind: "refused"; why: string; record: WitnessRecord }
  | Unknown;

/** The answer to `read`. */
export type ReadAnswer = { kind: "record"; record: WitnessRecord } | Unknown;

/** A witness that remembers: another Holdfast, etcd, a bucket. */
export interface RecordingWitness {
  readonly records: true;
  /** For people: "etcd http://10.0.0.9:2379". */
  readonly name: string;
  /**
   * Asks for the lease of a module, or for more of it. A node that asks before its own lease has ended is never refused because the witness forgot:
   * who can show a lease in force may go on with it.
   */
  renew(module: string, leaseMs: number): Promise<RenewAnswer>;
  /**
   * Records who alone may go on from `generation` (this node; null: both), if the record still has the version `expected`.
   * Refused while another node's lease is in force. The same call again is harmless: where the record says so already, it is recorded.
   * Unknown: only a later answer tells, and a call that came to nothing so far may still be carried out as long as the version is `expected`:
   * ask again with the same words until one answer is clear, or until the version is another.
   */
  recordSole(
    module: string,
    sole: string | null,
    generation: string,
    expected: string,
  ): Promise<RecordAnswer>;
  /** The record as it is now, never an older one. Where a witness has no clock of its own (S3), reading is also how a later `renew` knows for how long nothing changed. */
  read(module: string): Promise<ReadAnswer>;
  /**
   * Gives the lease back at once, after a clean stop: the one that this node knows of once the renewals that it asked for before are answered. A lease that it
   * is granted later is another, and stays, however long this word takes. True: it is given back, or was not held.
   */
  release(module: string): Promise<boolean>;
  /** For `doctor` and `cluster witness show`: does it answer now? */
  probe(): Promise<ProbeAnswer>;
  /** Ends what is under way: nothing may follow. */
  close(): void;
}

/** Addresses that answer or do not: says only whether this node is cut off, records nothing, and two nodes may both be told yes. */
export interface ReachabilityWitness {
  readonly records: false;
  readonly name: string;
  /** Does any of the addresses answer within the deadline? Never rejects. */
  isReached(): Promise<boolean>;
  probe(): Promise<ProbeAnswer>;
  close(): void;
}

/** One or the other: `records` tells. */
export type Witness = RecordingWitness | ReachabilityWitness;

/** `detail` is for people: what answered, or what went wrong. */
export interface ProbeAnswer {
  answers: boolean;
  detail: string;
}
