/**
 * Leases, when answers are lost, requests come late, clocks drift as far as they may, and the witness forgets: never two nodes that hold one at the same time,
 * and never a record that two believe to have written.
 *
 * The decisions run on time that the test makes; the store is a stand-in with compare-and-swap, and a Holdfast witness is the real one, on real files.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { Allowance, BURST, RATE } from "../../core/witness/allowance.ts";
import { RecordKeeper } from "../../core/witness/keeper.ts";
import { type Cell, CLOCK_DRIFT } from "../../core/witness/lease_watch.ts";
import type { StoredRecord } from "../../core/witness/stored_record.ts";
import { type RecordStore, StoredWitness, type Swapped } from "../../core/witness/stored_witness.ts";
import { ABSENT, type RecordAnswer, type RenewAnswer } from "../../core/witness/witness.ts";

const LEASE = 1000;
const SCHEDULES = 1500;
const STEPS = 120;

/** A generator of numbers from 0 to 1 that a seed decides (mulberry32). */
function chances(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One record in a store that loses answers, loses requests, or carries them out later. */
class FaultyStore implements RecordStore<number> {
  readonly name = "a faulty store";
  record: StoredRecord | null = null;
  tag = 0;
  writtenAt = 0;
  readonly late: (() => void)[] = [];

  constructor(
    private readonly chance: () => number,
    private readonly now: () => number,
  ) {}

  async read(): Promise<Cell<number>> {
    if (this.chance() < 0.1) throw new Error("no answer");
    return this.#cell();
  }

  async swap(_module: string, tag: number | null, record: StoredRecord): Promise<Swapped<number>> {
    const work = (): Swapped<number> => {
      if (tag !== (this.record === null ? null : this.tag)) return { conflict: this.#cell() };
      this.record = record;
      this.writtenAt = this.now();
      return { tag: ++this.tag };
    };
    const fate = this.chance();
    if (fate < 0.08) throw new Error("the request was lost");
    if (fate < 0.16) {
      this.late.push(work);
      throw new Error("the request is on its way");
    }
    const done = work();
    if (fate < 0.24) throw new Error("the answer was lost");
    return done;
  }

  async probe(): Promise<string> {
    return "";
  }

  #cell(): Cell<number> {
    return { record: this.record, tag: this.record === null ? null : this.tag, isLapsed: false };
  }
}

/** What one node was told, in true time. */
class Ledger {
  readonly #leases: { node: string; from: number; to: number }[] = [];
  readonly #soles = new Map<string, string>();
  granted = 0;

  /** Fails when another node's lease is in force at the same time. */
  lease(node: string, from: number, to: number): string | null {
    this.granted++;
    const clash = this.#leases.find((one) => one.node !== node && one.from < to && from < one.to);
    this.#leases.push({ node, from, to });
    return clash ? `${node} holds ${from}..${to}, ${clash.node} ${clash.from}..${clash.to}` : null;
  }

  /** A node gives up what it has. */
  end(node: string, at: number): void {
    for (const lease of this.#leases) if (lease.node === node) lease.to = Math.min(lease.to, at);
  }

  /** Fails when two nodes were told that theirs took the place of the same version. */
  sole(node: string, expected: string): string | null {
    const other = this.#soles.get(expected);
    this.#soles.set(expected, node);
    return other !== undefined && other !== node ? `${node} and ${other} both replaced ${expected}` : null;
  }

  forget(): void {
    this.#soles.clear();
  }
}

/** What a Holdfast witness calls the lease that it has just granted. */
const leaseOf = (answer: Awaited<ReturnType<RecordKeeper["renew"]>>): string =>
  answer.kind === "granted" ? (answer.lease ?? "") : "";

/** A node: its clock, and what it knows of the record. */
interface Asker {
  name: string;
  rate: number;
  renew(): Promise<RenewAnswer>;
  recordSole(generation: string, expected: string): Promise<RecordAnswer>;
  release(): Promise<unknown>;
  version: string;
}

/** Plays one schedule; returns what went wrong. */
async function play(
  seed: number,
  make: (
    world: { now: number },
    chance: () => number,
  ) => { askers: Asker[]; fault(): string | null | Promise<null> },
  ledger: Ledger,
): Promise<string | null> {
  const chance = chances(seed);
  const world = { now: 0 };
  const { askers, fault } = make(world, chance);
  for (let step = 0; step < STEPS; step++) {
    world.now += chance() < 0.1 ? chance() * 3 * LEASE : (chance() * LEASE) / 4;
    const asker = askers[Math.floor(chance() * askers.length)]!;
    const from = world.now;
    if (chance() < 0.15) {
      const { version } = asker;
      const answer = await asker.recordSole(`${seed}-${step}`, version);
      if (answer.kind !== "unknown") asker.version = answer.record.version;
      const wrong = answer.kind === "recorded" ? ledger.sole(asker.name, version) : null;
      if (wrong !== null) return wrong;
    } else if (chance() < 0.1) {
      ledger.end(asker.name, world.now);
      await asker.release();
    } else {
      const answer = await asker.renew();
      if (answer.kind !== "unknown") asker.version = answer.record.version;
      const wrong =
        answer.kind === "granted" ? ledger.lease(asker.name, from, from + LEASE / asker.rate) : null;
      if (wrong !== null) return wrong;
    }
    if (chance() < 0.05 && (await fault()) === "forgot") ledger.forget();
  }
  return null;
}

/** Two clocks as far apart as they may be, at other times. */
const clocksOf = (world: { now: number }): { name: string; rate: number; clock: () => number }[] =>
  [
    { name: "n1", rate: 1 - CLOCK_DRIFT, offset: 5e6 },
    { name: "n2", rate: 1 + CLOCK_DRIFT, offset: 123 },
  ].map(({ name, rate, offset }) => ({ name, rate, clock: () => world.now * rate + offset }));

t.test("over a store: never two leases at once, never two that replaced the same record", async (t) => {
  let granted = 0;
  const wrongs: string[] = [];
  for (let seed = 1; seed <= SCHEDULES; seed++) {
    const ledger = new Ledger();
    const wrong = await play(
      seed,
      (world, chance) => {
        const store = new FaultyStore(chance, () => world.now);
        const askers = clocksOf(world).map(({ name, rate, clock }): Asker => {
          const witness = new StoredWitness(store, { node: name, deadlineMs: 60_000, leaseMs: LEASE, clock });
          return {
            name,
            rate,
            version: ABSENT,
            renew: () => witness.renew("db", LEASE),
            recordSole: (generation, expected) => witness.recordSole("db", name, generation, expected),
            release: () => witness.release("db"),
          };
        });
        return {
          askers,
          fault: () => {
            if (chance() < 0.6) {
              for (const work of store.late.splice(0)) work();
              return null;
            }
            // It takes a while to lose everything and to answer again.
            if (world.now - store.writtenAt < LEASE * 0.34) return null;
            store.record = null;
            return "forgot";
          },
        };
      },
      ledger,
    );
    if (wrong !== null) wrongs.push(`seed ${seed}: ${wrong}`);
    granted += ledger.granted;
  }
  t.same(wrongs, []);
  t.ok(granted > SCHEDULES * 10, `${granted} leases were granted`);
});

t.test("of a Holdfast witness: the same, when it is killed and starts again", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-keeper-"));
  t.teardown(() => rmSync(directory, { recursive: true }));
  let granted = 0;
  const wrongs: string[] = [];
  for (let seed = 1; seed <= 40; seed++) {
    const ledger = new Ledger();
    const wrong = await play(
      seed,
      (world, chance) => {
        const place = join(directory, `${seed}`);
        // The witness's own clock is off as well, the other way than the holder's.
        const clock = (): number => world.now * (1 + CLOCK_DRIFT) + 77;
        let keeper = new RecordKeeper(place, clock);
        const late: (() => Promise<unknown>)[] = [];
        const askers = clocksOf(world).map(({ name, rate, clock: own }): Asker => {
          let heldUntil = 0;
          let lease = "";
          const holds = (): boolean => own() < heldUntil;
          return {
            name,
            rate,
            version: ABSENT,
            renew: async () => {
              const sentAt = own();
              const answer = await keeper.renew(name, { module: "db", leaseMs: LEASE, holds: holds() });
              if (chance() < 0.1) return { kind: "unknown", why: "" };
              if (answer.kind === "granted") {
                heldUntil = sentAt + LEASE;
                lease = leaseOf(answer);
              }
              return answer.kind === "granted" ? { ...answer, sentAt } : answer;
            },
            recordSole: (generation, expected) =>
              keeper.recordSole(name, { module: "db", sole: name, generation, expected, holds: holds() }),
            release: async () => {
              heldUntil = 0;
              const given = lease;
              const give = () => keeper.release(name, { module: "db", lease: given });
              if (chance() < 0.5) late.push(give);
              else await give();
            },
          };
        });
        return {
          askers,
          fault: async () => {
            if (chance() < 0.5) keeper = new RecordKeeper(place, clock);
            else for (const give of late.splice(0)) await give();
            return null;
          },
        };
      },
      ledger,
    );
    if (wrong !== null) wrongs.push(`seed ${seed}: ${wrong}`);
    granted += ledger.granted;
  }
  t.same(wrongs, []);
  t.ok(granted > 400, `${granted} leases were granted`);
});

t.test(
  "a Holdfast witness that has started grants nothing new for a lease, and disturbs no holder",
  async (t) => {
    const directory = mkdtempSync(join(tmpdir(), "holdfast-keeper-"));
    t.teardown(() => rmSync(directory, { recursive: true }));
    let now = 0;
    const ask = (holds = false) => ({ module: "db", leaseMs: LEASE, holds });
    const start = (): RecordKeeper => new RecordKeeper(directory, () => now);
    let keeper = start();
    t.match(await keeper.renew("n1", ask()), { kind: "refused", holder: null, why: /has just started/ });
    now += 1.2 * LEASE;
    t.match(await keeper.renew("n1", ask()), { kind: "granted", record: { holder: "n1" } });
    t.match(await keeper.renew("n2", ask()), { kind: "refused", holder: "n1" });
    keeper = start();
    t.match(
      await keeper.renew("n2", ask(true)),
      { kind: "refused", holder: "n1" },
      "whoever claims to hold it",
    );
    t.match(
      await keeper.renew("n1", ask()),
      { kind: "refused" },
      "not even the holder, once its lease has ended",
    );
    t.match(
      await keeper.renew("n1", ask(true)),
      { kind: "granted" },
      "a holder whose lease is in force goes on",
    );
    now += 1.2 * LEASE;
    const first = await keeper.renew("n2", ask());
    t.match(first, { kind: "granted" }, "n1 did not ask again");
    t.match(await keeper.renew("n1", ask()), { kind: "refused", holder: "n2" });
    const later = await keeper.renew("n2", ask());
    await keeper.release("n2", { module: "db", lease: leaseOf(first) });
    t.match(await keeper.renew("n1", ask()), { kind: "refused" }, "a late word ends no later lease");
    await keeper.release("n1", { module: "db", lease: leaseOf(later) });
    t.match(await keeper.renew("n1", ask()), { kind: "refused" }, "nor does another node");
    t.match(await keeper.release("n2", { module: "db", lease: leaseOf(later) }), { kind: "released" });
    t.match(await keeper.renew("n1", ask()), { kind: "granted" }, "given back: at once");
  },
);

t.test("what a Holdfast witness has on record survives it, and speaks for nobody else", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-keeper-"));
  t.teardown(() => rmSync(directory, { recursive: true }));
  let now = 0;
  let keeper = new RecordKeeper(directory, () => now);
  now += 10 * LEASE;
  const sole = (node: string, generation: string, expected: string, who: string | null = node) =>
    keeper.recordSole(node, { module: "db", sole: who, generation, expected, holds: false });
  const first = await sole("n1", "g1", ABSENT);
  t.match(first, { kind: "recorded", record: { sole: "n1", generation: "g1", holder: null } });
  t.match(await sole("n2", "g2", ABSENT), { kind: "refused", record: { sole: "n1" } });
  await t.rejects(sole("n2", "g2", first.record.version, "n1"), { message: /n2 cannot speak for n1/ });
  t.same(await sole("n1", "g1", ABSENT), first, "the same words again are harmless");
  keeper = new RecordKeeper(directory, () => now);
  t.same(await keeper.read({ module: "db" }), { kind: "record", record: first.record });
  now += 10 * LEASE;
  await keeper.renew("n2", { module: "db", leaseMs: LEASE, holds: false });
  t.match(
    await sole("n1", "g3", first.record.version),
    { kind: "refused", why: /n2 holds the lease/ },
    "while another holds the lease",
  );
  t.match(await sole("n2", "g3", first.record.version, null), { kind: "recorded", record: { sole: null } });
});

t.test("a store that forgot: the holder carries its record over, another waits for a lease", async (t) => {
  let now = 0;
  const store = new FaultyStore(
    () => 0.9,
    () => now,
  );
  const [n1, n2] = ["n1", "n2"].map(
    (node) => new StoredWitness(store, { node, deadlineMs: 60_000, leaseMs: LEASE, clock: () => now }),
  ) as [StoredWitness<number>, StoredWitness<number>];
  /** Lets time pass, while a node looks as closely as it must for an absence to count. */
  const watching = async (witness: StoredWitness<number>): Promise<void> => {
    for (let looks = 0; looks < 4; looks++) {
      t.match(await witness.renew("db", LEASE), { kind: "refused", holder: null, why: /no record/ });
      now += 0.3 * LEASE;
    }
  };
  await watching(n1);
  const held = await n1.renew("db", LEASE);
  t.match(held, { kind: "granted", sentAt: now });
  const recorded = await n1.recordSole("db", "n1", "g1", ABSENT);
  t.match(recorded, { kind: "recorded" });
  t.match(await n2.renew("db", LEASE), { kind: "refused", holder: "n1" });
  store.record = null;
  t.match(await n2.renew("db", LEASE), { kind: "refused", holder: null });
  t.match(
    await n2.recordSole("db", "n2", "g2", ABSENT),
    { kind: "refused" },
    "a stale node does not rush in",
  );
  now += 0.5 * LEASE;
  t.match(await n1.renew("db", LEASE), { kind: "granted", record: { sole: "n1", generation: "g1" } });
  t.equal((await n1.read("db")).kind, "record");
  t.match(await n2.read("db"), {
    record: recorded.kind === "recorded" ? { ...recorded.record, holder: "n1" } : {},
  });
  now += 1.05 * LEASE;
  t.match(await n2.renew("db", LEASE), { kind: "refused", holder: "n1" }, "the clocks may be off");
  now += 0.1 * LEASE;
  t.match(await n2.renew("db", LEASE), { kind: "granted", record: { sole: "n1" } });
  t.match(await n2.recordSole("db", "n2", "g2", ABSENT), { kind: "refused", record: { sole: "n1" } });
  t.equal(await n2.release("db"), true);
  t.match(await n1.renew("db", LEASE), { kind: "granted" }, "given back: at once");
});

t.test("one cluster cannot ask without end", async (t) => {
  let now = 0;
  const allowance = new Allowance(() => now);
  const asked = (times: number): number =>
    Array.from({ length: times }, () => allowance.take()).filter(Boolean).length;
  t.equal(asked(2 * BURST), BURST);
  now += 1000;
  t.equal(asked(2 * BURST), RATE);
  now += 3_600_000;
  t.equal(asked(2 * BURST), BURST, "what is not used is not saved up");
});
