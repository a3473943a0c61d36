/** Sealed heartbeats: only members make them, each counts once, and a restart of the receiver does not make old ones new. */

import { randomBytes } from "node:crypto";
import { deflateRawSync } from "node:zlib";
import t, { type Test as Tap } from "tap";
import { type Beat, BeatAssembler, encodeBeat } from "../../core/cluster/beat.ts";
import { deriveKeys, newClusterKey } from "../../core/cluster/membership_keys.ts";
import {
  type DropReason,
  MAX_DATAGRAM_BYTES,
  type OpenResult,
  SealedChannel,
} from "../../core/cluster/sealed_datagram.ts";
import type { PeerView } from "../../core/failover/types.ts";

const keys = deriveKeys(newClusterKey());
let clock = 0;
const channel = (node: string, secret = keys) =>
  new SealedChannel({
    key: secret.heartbeat,
    label: secret.label,
    node,
    peers: ["n1", "n2", "n3"].filter((n) => n !== node),
    now: () => clock,
  });
const body = (text: string) => Buffer.from(text);
const reasonOf = (result: OpenResult): DropReason | "ok" => (result.ok ? "ok" : result.reason);

/** The handshake as the sockets do it: a stranger is answered with its challenge echoed. */
function meet(t: Tap, a: SealedChannel, aName: string, b: SealedChannel, bName: string): void {
  const first = b.open(a.seal(bName, "lan", body("")), "lan");
  if (first.ok || first.answer === null) throw new Error("expected a stranger");
  const answer = a.open(b.seal(aName, "lan", body(""), first.answer.echo), "lan");
  t.equal(reasonOf(answer), "ok", `${aName} knows ${bName}`);
  t.equal(reasonOf(b.open(a.seal(bName, "lan", body("")), "lan")), "ok", `${bName} knows ${aName}`);
}

const piecesOf = (beat: Beat, number: number): Uint8Array[] => encodeBeat(beat, number, 1200).pieces;

t.test("members hear each other after one exchange", async (t) => {
  const a = channel("n1");
  const b = channel("n2");
  meet(t, a, "n1", b, "n2");
  clock += 30;
  const result = b.open(a.seal("n2", "lan", body("hello")), "lan");
  t.ok(result.ok);
  if (!result.ok) return;
  t.equal(Buffer.from(result.datagram.body).toString(), "hello");
  t.equal(result.datagram.from, "n1");
  t.equal(result.datagram.incarnation, a.incarnation);
  t.equal(result.datagram.heardAgeMs, 30, "the age of what the sender had heard of us");
});

t.test("every changed bit and every truncation is dropped", async (t) => {
  const a = channel("n1");
  const b = channel("n2");
  meet(t, a, "n1", b, "n2");
  const good = a.seal("n2", "lan", body("state"));
  for (let i = 0; i < good.length; i++) {
    const bad = Buffer.from(good);
    bad[i]! ^= 1 << (i % 8);
    if (b.open(bad, "lan").ok) t.fail(`byte ${i} changed and taken`);
    if (b.open(good.subarray(0, i), "lan").ok) t.fail(`${i} bytes taken`);
  }
  t.equal(reasonOf(b.open(Buffer.concat([good, Buffer.alloc(1)]), "lan")), "forged");
  t.equal(reasonOf(b.open(good, "lan")), "ok", "the untouched one still counts");
  for (let i = 0; i < 2000; i++)
    if (b.open(randomBytes(Math.floor(Math.random() * 2000)), "lan").ok) t.fail("noise taken");
});

t.test("another cluster, another lan, another receiver", async (t) => {
  const other = deriveKeys(newClusterKey());
  const a = channel("n1");
  const b = channel("n2");
  meet(t, a, "n1", b, "n2");
  t.equal(reasonOf(b.open(channel("n1", other).seal("n2", "lan", body("")), "lan")), "foreign");
  const labelled = channel("n1", { ...other, label: keys.label });
  t.equal(reasonOf(b.open(labelled.seal("n2", "lan", body("")), "lan")), "forged");
  t.equal(reasonOf(b.open(a.seal("n2", "lan", body("")), "repl")), "misdirected");
  t.equal(reasonOf(b.open(a.seal("n3", "lan", body("")), "lan")), "misdirected");
  t.equal(
    reasonOf(b.open(channel("n2").seal("n1", "lan", body("")), "lan")),
    "foreign",
    "its own datagram, reflected",
  );
});

t.test("replay and reordering", async (t) => {
  const a = channel("n1");
  const b = channel("n2");
  meet(t, a, "n1", b, "n2");
  const datagrams = Array.from({ length: 200 }, (_, i) => a.seal("n2", "lan", body(String(i))));
  t.equal(reasonOf(b.open(datagrams[100]!, "lan")), "ok");
  t.equal(reasonOf(b.open(datagrams[100]!, "lan")), "replayed");
  t.equal(reasonOf(b.open(datagrams[50]!, "lan")), "ok", "a slower lan");
  t.equal(reasonOf(b.open(datagrams[50]!, "lan")), "replayed");
  t.equal(reasonOf(b.open(datagrams[20]!, "lan")), "replayed", "beyond the window");
  t.equal(reasonOf(b.open(datagrams[199]!, "lan")), "ok");
  for (let i = 0; i <= 100; i++) if (b.open(datagrams[i]!, "lan").ok) t.fail(`${i} counted again`);
});

t.test("trap: a datagram replayed after the receiver's restart does not count", async (t) => {
  const a = channel("n1");
  const b = channel("n2");
  meet(t, a, "n1", b, "n2");
  const old = Array.from({ length: 20 }, () => a.seal("n2", "lan", body("old")));
  const restarted = channel("n2");
  for (const datagram of old) t.equal(reasonOf(restarted.open(datagram, "lan")), "stranger");
  meet(t, a, "n1", restarted, "n2");
  for (const datagram of old)
    t.equal(reasonOf(restarted.open(datagram, "lan")), "replayed", "nor once the sender is known again");
});

t.test("trap: datagrams of a sender's former incarnation do not bring it back", async (t) => {
  const former = channel("n1");
  const b = channel("n2");
  meet(t, former, "n1", b, "n2");
  const kept = Array.from({ length: 5 }, () => former.seal("n2", "lan", body("old")));
  const neverSeen = channel("n1");
  const first = b.open(neverSeen.seal("n2", "lan", body("")), "lan");
  t.equal(reasonOf(first), "stranger");
  if (first.ok) return;
  neverSeen.open(b.seal("n1", "lan", body(""), first.answer!.echo), "lan");
  const withheld = neverSeen.seal("n2", "lan", body("echoes the challenge, and was withheld"));
  const present = channel("n1");
  meet(t, present, "n1", b, "n2");
  for (const datagram of kept) t.equal(reasonOf(b.open(datagram, "lan")), "replayed");
  t.equal(reasonOf(b.open(withheld, "lan")), "stranger", "its echo is spent");
  t.equal(reasonOf(b.open(present.seal("n2", "lan", body("")), "lan")), "ok");
});

t.test("an echo is worth nothing a while later", async (t) => {
  const a = channel("n1");
  const b = channel("n2");
  const first = b.open(a.seal("n2", "lan", body("")), "lan");
  if (first.ok) throw new Error("expected a stranger");
  a.open(b.seal("n1", "lan", body(""), first.answer!.echo), "lan");
  const withheld = a.seal("n2", "lan", body(""));
  for (let i = 0; i < 2; i++) {
    clock += 11_000;
    b.seal("n1", "lan", body(""));
  }
  t.equal(reasonOf(b.open(withheld, "lan")), "stranger");
});

t.test("size bound", async (t) => {
  const a = channel("n1");
  t.equal(a.seal("n2", "lan", new Uint8Array(a.room("n2", "lan"))).length, MAX_DATAGRAM_BYTES);
  t.throws(() => a.seal("n2", "lan", new Uint8Array(a.room("n2", "lan") + 1)), RangeError);
  t.throws(() => a.seal("nobody", "lan", body("")), RangeError);
});

const view = (resources: Record<string, string>): PeerView => ({
  state: "PRIM",
  readiness: "Ready",
  record: {
    role: "PRIM",
    generations: {
      current: randomBytes(16).toString("hex"),
      parted: null,
      history: Array.from({ length: 16 }, () => randomBytes(16).toString("hex")),
    },
    consistency: "uptodate",
    wasPrimaryAtParting: false,
    counter: 7,
    peerCounter: 7,
  },
  incarnation: "i",
  outdate: null,
  outdatedIn: null,
  caughtUp: null,
  swap: { id: "s", phase: "asked" },
  leaving: false,
  resources,
});

t.test("a beat of many modules is cut and put together, in any order, newest only", async (t) => {
  const beat: Beat = {
    hears: { lan: ["n2"], repl: [] },
    leaving: false,
    views: Object.fromEntries(
      Array.from({ length: 12 }, (_, i) => [
        `m${i}`,
        view({ [`tcp.${randomBytes(40).toString("hex")}`]: "up" }),
      ]),
    ),
  };
  const pieces = piecesOf(beat, 1);
  t.ok(pieces.length > 3, `${pieces.length} pieces`);
  t.ok(pieces.every((piece) => piece.length <= 1200));
  const assembler = new BeatAssembler();
  const found = pieces.toReversed().map((piece) => assembler.add("i", piece));
  t.same(found.pop(), beat);
  t.ok(found.every((one) => one === null));
  t.equal(assembler.add("i", pieces[0]!), null, "the other lan's copy");
  const newer = piecesOf({ ...beat, leaving: true }, 3);
  const older = piecesOf(beat, 2);
  t.ok(newer.map((piece) => assembler.add("i", piece)).at(-1)?.leaving);
  t.ok(
    older.every((piece) => assembler.add("i", piece) === null),
    "an older beat comes late",
  );
  t.ok(
    piecesOf(beat, 1)
      .map((piece) => assembler.add("j", piece))
      .at(-1),
    "a new incarnation counts from one again",
  );
});

t.test("bytes that make no beat are refused, and the next beat is read", async (t) => {
  const beat: Beat = { hears: {}, leaving: false, views: { db: view({}) } };
  const assembler = new BeatAssembler();
  const bad = (change: (piece: Buffer) => Uint8Array, number: number) =>
    t.throws(() => assembler.add("i", change(Buffer.from(piecesOf(beat, number)[0]!))));
  bad((piece) => piece.subarray(0, 3), 1);
  bad((piece) => {
    piece[4] = 9;
    return piece;
  }, 1);
  bad((piece) => {
    piece[5] = 0;
    return piece;
  }, 1);
  bad((piece) => {
    piece[5] = 255;
    return piece;
  }, 1);
  bad((piece) => {
    piece.fill(0x55, 6);
    return piece;
  }, 2);
  t.throws(() =>
    assembler.add(
      "i",
      piecesOf({ ...beat, views: { db: { ...view({}), state: "KING" } as unknown as PeerView } }, 3)[0]!,
    ),
  );
  t.same(assembler.add("i", piecesOf(beat, 4)[0]!), beat);
  const inflated = JSON.stringify({ ...beat, views: { db: view({ a: "x".repeat(4 << 20) }) } });
  const bytes = deflateRawSync(inflated);
  const count = Math.ceil(bytes.length / 1194);
  const bomb = Array.from({ length: count }, (_, piece) =>
    Buffer.concat([
      Buffer.from([0, 0, 0, 5, piece, count]),
      bytes.subarray(piece * 1194, (piece + 1) * 1194),
    ]),
  );
  t.throws(() => {
    for (const piece of bomb) assembler.add("i", piece);
  }, "too large when inflated");
});

t.test("a beat that is too large says what matters, and what it lacks", async (t) => {
  const many = (count: number): Record<string, string> =>
    Object.fromEntries(Array.from({ length: count }, () => [`tcp.${randomBytes(40).toString("hex")}`, "up"]));
  const note = { reason: randomBytes(20_000).toString("hex"), since: "" };
  const beatOf = (resources: Record<string, string>): Beat => ({
    hears: {},
    leaving: false,
    views: { db: { ...view(resources), note } },
  });
  const heard = (beat: Beat): { db: PeerView; lacks: string } => {
    const { pieces, lacks } = encodeBeat(beat, 1, 1200);
    t.ok(pieces.length <= 64, `${pieces.length} pieces`);
    const assembler = new BeatAssembler();
    return { db: pieces.map((piece) => assembler.add("i", piece)).at(-1)!.views["db"]!, lacks };
  };
  const some = many(900);
  t.match(heard(beatOf(some)), { db: { resources: some, note: undefined }, lacks: "reasons" });
  t.match(heard(beatOf(many(5000))), {
    db: { state: "PRIM", resources: {} },
    lacks: /resources: name fewer/,
  });
  const { note: _, ...bare } = beatOf({}).views["db"]!;
  t.equal(heard({ hears: {}, leaving: false, views: { db: bare } }).lacks, "");
});
