/**
 * What one heartbeat says, as bytes: whom this node hears on each lan, and its view of each of its modules.
 *
 * A beat that is too large for one datagram is cut; pieces may come over different lans. Every beat says everything, so
 * a lost piece costs one interval, and an older beat that comes late is dropped.
 */
import { deflateRawSync, inflateRawSync } from "node:zlib";
import * as v from "valibot";
import type { PeerView } from "../failover/types.ts";
import type { FarmWord } from "../farm/word.ts";
import { MAC_TEXT } from "../network/address.ts";

/** What a node says of one module: the failover core's view, and what others of its parts add to it. */
export interface ModuleView extends PeerView {
  /** Of a farm with virtual addresses of its own, while this node takes part. */
  farm?: FarmWord;
  /** Of a primary: its secondary hung, and is not let in before this, by the sender's wall clock, ms. */
  heldUntil?: number;
}

/** Everything that a node tells its peers, each time. */
export interface Beat {
  /** By lan: the nodes whose heartbeats this node hears there. */
  hears: Readonly<Record<string, readonly string[]>>;
  /** A clean goodbye of the whole node. */
  leaving: boolean;
  /** By module. */
  views: Readonly<Record<string, ModuleView>>;
  /** Modules of this node that it cannot use. Nothing of them runs here, and nothing is said of them: to their peers, this node is silent. */
  unusable?: readonly string[];
  /** By module, the revision that this node works with: a git commit. */
  revisions?: Readonly<Record<string, string>>;
  /** The same on nodes that hold the same secrets: see core/secrets/versions.ts. */
  secrets?: string;
}

/** beat number (4), piece (1), number of pieces (1). */
const PIECE_HEADER_BYTES = 6;
const MAX_PIECES = 64;
const MAX_BEAT_BYTES = 1 << 20;

const text = v.pipe(v.string(), v.maxLength(256));
const knownCopy = v.object({ id: text, counter: v.number() });
// Loose: a newer peer may say more. What is named here is what this version relies on.
const view = v.looseObject({
  state: v.picklist(["STOP", "WAIT", "ALONE", "PRIM", "SECOND", "UP", "UNKNOWN"]),
  readiness: v.picklist(["NotReady", "Transient", "Ready"]),
  record: v.looseObject({
    role: v.picklist(["NONE", "ALONE", "PRIM", "SECOND"]),
    generations: v.object({
      current: text,
      parted: v.nullable(text),
      history: v.pipe(v.array(text), v.maxLength(16)),
    }),
    consistency: v.picklist(["blank", "uptodate", "outdated", "inconsistent", "suspect"]),
    wasPrimaryAtParting: v.boolean(),
    counter: v.number(),
    peerCounter: v.number(),
    witness: v.exactOptional(v.nullable(text)),
  }),
  copy: v.exactOptional(v.nullable(v.object({ ...knownCopy.entries, peer: v.nullable(knownCopy) }))),
  incarnation: text,
  outdate: v.nullable(text),
  outdatedIn: v.nullable(text),
  caughtUp: v.nullable(text),
  swap: v.nullable(
    v.object({ id: text, phase: v.picklist(["asked", "stopping", "drained", "promoted", "failed"]) }),
  ),
  promises: v.exactOptional(v.boolean()),
  leaving: v.boolean(),
  resources: v.record(text, text),
  maintenance: v.exactOptional(v.object({ on: v.boolean(), stamp: v.number(), since: text, by: text })),
  note: v.exactOptional(
    v.looseObject({ reason: v.string(), since: v.string(), remedy: v.exactOptional(v.string()) }),
  ),
  heldUntil: v.exactOptional(v.number()),
  farm: v.exactOptional(
    v.looseObject({
      stage: v.picklist(["open", "held", "draining", "unwell", "closed"]),
      hears: v.exactOptional(v.pipe(v.array(text), v.maxLength(32))),
      why: v.exactOptional(text),
      // Both become a part of the kernel's rules.
      mac: v.pipe(v.string(), v.regex(MAC_TEXT)),
      number: text,
    }),
  ),
});
const beat = v.object({
  hears: v.record(text, v.array(text)),
  leaving: v.boolean(),
  views: v.record(text, view),
  unusable: v.exactOptional(v.array(text)),
  revisions: v.exactOptional(v.record(text, v.pipe(v.string(), v.regex(/^[0-9a-f]{40}$/)))),
  secrets: v.exactOptional(v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/))),
});

/** What a beat that is too large for its pieces is sent without: what is for people first, then what only remote rules ask for. */
const SHORTER: readonly { lacks: string; of(view: ModuleView): ModuleView }[] = [
  { lacks: "", of: (view) => view },
  {
    lacks: "reasons",
    of: (view) => {
      const { note: _, ...rest } = view;
      return rest;
    },
  },
  {
    lacks:
      "reasons and resources: name fewer checkers, or set fewer resources by hand; remote rules find them unknown",
    of: (view) => {
      const { note: _, ...rest } = view;
      return { ...rest, resources: {} };
    },
  },
];

/** A beat as it goes out. `lacks`: what had no room, in words; "" for nothing. */
export interface EncodedBeat {
  pieces: Uint8Array[];
  lacks: string;
}

/**
 * Cuts a beat into pieces of at most `room` bytes; what does not fit is left out, since a node that says nothing is taken for dead. `number` grows with
 * each beat of an incarnation. Throws RangeError when even the rest does not fit.
 */
export function encodeBeat(content: Beat, number: number, room: number): EncodedBeat {
  const share = room - PIECE_HEADER_BYTES;
  for (const { lacks, of } of SHORTER) {
    const views = Object.fromEntries(Object.entries(content.views).map(([name, view]) => [name, of(view)]));
    const text = Buffer.from(JSON.stringify({ ...content, views }));
    if (text.length > MAX_BEAT_BYTES) continue;
    const bytes = deflateRawSync(text, { level: 1 });
    if (bytes.length <= share * MAX_PIECES) return { pieces: cut(bytes, number, share), lacks };
  }
  throw new RangeError("a heartbeat is too large: this node has too many modules");
}

function cut(bytes: Uint8Array, number: number, share: number): Uint8Array[] {
  const count = Math.max(1, Math.ceil(bytes.length / share));
  return Array.from({ length: count }, (_, piece) => {
    const header = Buffer.alloc(PIECE_HEADER_BYTES);
    header.writeUInt32BE(number >>> 0);
    header[4] = piece;
    header[5] = count;
    return Buffer.concat([header, bytes.subarray(piece * share, (piece + 1) * share)]);
  });
}

/** Puts the pieces of one sender's beats together again. */
export class BeatAssembler {
  #incarnation = "";
  #delivered = 0;
  #number = 0;
  #pieces: (Uint8Array | undefined)[] = [];
  #missing = 0;

  /** The whole beat when this was its last piece and it is newer than any before; null when not. Throws on bytes that make no beat. */
  add(incarnation: string, body: Uint8Array): Beat | null {
    if (incarnation !== this.#incarnation) {
      this.#incarnation = incarnation;
      this.#delivered = 0;
      this.#number = 0;
    }
    // An answer of a node that has nothing to say yet.
    if (body.length === 0) return null;
    if (body.length < PIECE_HEADER_BYTES) throw new RangeError("a piece without a header");
    const number = ((body[0]! << 24) | (body[1]! << 16) | (body[2]! << 8) | body[3]!) >>> 0;
    const piece = body[4]!;
    const count = body[5]!;
    if (count === 0 || count > MAX_PIECES || piece >= count) throw new RangeError("a piece outside its beat");
    if (number <= this.#delivered || number < this.#number) return null;
    if (number > this.#number || count !== this.#pieces.length) {
      this.#number = number;
      this.#pieces = new Array<Uint8Array | undefined>(count).fill(undefined);
      this.#missing = count;
    }
    if (this.#pieces[piece] !== undefined) return null;
    this.#pieces[piece] = body.slice(PIECE_HEADER_BYTES);
    if (--this.#missing > 0) return null;
    this.#delivered = number;
    return decodeBeat(this.#pieces as Uint8Array[]);
  }
}

function decodeBeat(pieces: readonly Uint8Array[]): Beat {
  const bytes = inflateRawSync(Buffer.concat(pieces), { maxOutputLength: MAX_BEAT_BYTES });
  return v.parse(beat, JSON.parse(bytes.toString("utf8"))) as Beat;
}
