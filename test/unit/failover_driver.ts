/** Drives one failover core by hand: every effect that waits is done at once, unless a test holds or fails it. */
import { blankRecord, describe, initialState, type State, step, view } from "../../core/failover/step.ts";
import type {
  CheckScope,
  Command,
  DurableRecord,
  Effect,
  Event,
  FailoverConfig,
  PeerView,
  ReplicationReport,
  WitnessAnswer,
} from "../../core/failover/types.ts";

type EventBody = Event extends infer E ? (E extends unknown ? Omit<E, "now" | "wall"> : never) : never;

/** The settings of most tests. */
export const CONFIG: FailoverConfig = {
  kind: "mirror",
  module: "db",
  node: "n1",
  peer: "n2",
  failover: "automatic",
  failback: null,
  onIsolation: "continue",
  maxLoop: { count: 3, intervalMs: 86_400_000 },
  replicated: true,
  virtualIp: true,
  timeoutMs: 1000,
};

/** A record of a node that held the data. */
export function recordOf(more: Partial<DurableRecord> = {}): DurableRecord {
  return {
    ...blankRecord(),
    role: "SECOND",
    consistency: "uptodate",
    generations: { current: "g1", parted: null, history: ["g0"] },
    running: true,
    ...more,
  };
}

/** What a peer says. */
export function viewOf(
  state: PeerView["state"],
  record: DurableRecord,
  more: Partial<PeerView> = {},
): PeerView {
  return { ...view(initialState(CONFIG)), state, readiness: "Ready", incarnation: "peer", record, ...more };
}

/** One core and what it asked for. */
export class Driver {
  state: State;
  /** Effects in words, in the order asked for. */
  readonly acts: string[] = [];
  readonly records: DurableRecord[] = [];
  readonly shouts: string[] = [];
  /** Which checks look now. */
  scope: CheckScope = "none";
  readonly answers: { ok: boolean; message: string }[] = [];
  why = "";
  now = 0;
  /** Effects whose `done` a test gives itself: matched against the words of an act. */
  hold: RegExp | null = null;
  /** Effects that fail. */
  fail: RegExp | null = null;
  readonly held: number[] = [];
  /** Questions to the witness, not answered yet. */
  readonly asked: number[] = [];
  private readonly queue: EventBody[] = [];

  constructor(config: Partial<FailoverConfig> = {}) {
    this.state = initialState({ ...CONFIG, ...config });
  }

  /** Boots with this record; `start` as it says. */
  boot(record: DurableRecord, start = record.running): this {
    return this.tell({ type: "boot", record, start, incarnation: "me" });
  }
  peer(seen: PeerView): this {
    return this.tell({ type: "peer", view: seen });
  }
  /** The old primary has drained, or gives the role back, and promises as of now. */
  offered(swap: PeerView["swap"]): this {
    return this.tell({ type: "promised", since: this.now }).peer(secondView({ swap }));
  }
  lost(): this {
    return this.tell({ type: "peerLost", cause: "n2 is silent" });
  }
  report(report: ReplicationReport): this {
    return this.tell({ type: "replication", report });
  }
  command(command: Command, by: "human" | "rule" = "human"): this {
    return this.tell({ type: "command", command, by, cause: "test", id: "1" });
  }
  resource(name: string, state: string, detail = ""): this {
    return this.tell({ type: "resource", name, state, detail });
  }
  timer(name: string): this {
    return this.tell({ type: "timer", name });
  }
  /** The witness answers the oldest question. */
  witness(answer: WitnessAnswer): this {
    const effect = this.asked.shift();
    if (effect === undefined) throw new Error("the witness was asked nothing");
    return this.tell({ type: "witness", effect, answer });
  }
  release(ok = true): this {
    const effect = this.held.shift();
    if (effect === undefined) throw new Error("nothing is held");
    return this.tell({ type: "done", effect, ok, detail: ok ? "" : "failed by the test" });
  }

  tell(event: EventBody): this {
    this.queue.push(event);
    while (this.queue.length > 0) {
      const { state, effects, why } = step(this.state, {
        ...this.queue.shift()!,
        now: this.now,
        wall: this.now,
      } as Event);
      this.state = state;
      if (why !== "") this.why = why;
      for (const effect of effects) this.take(effect);
    }
    return this;
  }

  private take(effect: Effect): void {
    if (effect.do === "publish" || effect.do === "timer") return;
    if (effect.do === "check" || effect.do === "shout") {
      if (effect.do === "check") this.scope = effect.scope;
      else this.shouts.push(effect.text);
      return;
    }
    if (effect.do === "answer") {
      this.answers.push({ ok: effect.ok, message: effect.message });
      return;
    }
    const act = wordsOf(effect);
    this.acts.push(act);
    if (effect.do === "askLease" || effect.do === "recordSole" || effect.do === "readWitness") {
      this.asked.push(effect.id);
      return;
    }
    if (effect.do === "persist") this.records.push(effect.record);
    if (effect.do === "proceed") return;
    if (this.hold?.test(act)) this.held.push(effect.id);
    else {
      const ok = !this.fail?.test(act);
      this.queue.push({ type: "done", effect: effect.id, ok, detail: ok ? "" : "failed by the test" });
    }
  }

  /** Acts since the last call. */
  since(): string[] {
    return this.acts.splice(0);
  }
  get view(): PeerView {
    return view(this.state);
  }
  get told(): ReturnType<typeof describe> {
    return describe(this.state);
  }
  get short(): string {
    return `${this.told.state} ${this.told.readiness}`;
  }
}

function wordsOf(effect: Effect): string {
  switch (effect.do) {
    case "persist":
      return `persist ${effect.record.role} ${effect.record.consistency}`;
    case "hook":
      return effect.hook === "transition"
        ? `transition ${effect.from} ${effect.to}`
        : `${effect.hook}${effect.force ? " force" : ""}`;
    case "virtualIp":
      return `address ${effect.up ? "up" : "down"}`;
    case "serve":
      return effect.alone ? "serve alone" : "serve";
    case "follow":
      return `follow${effect.full ? " full" : ""}${effect.sacrifice ? " sacrifice" : ""}`;
    case "proceed":
      return `proceed after ${effect.after}`;
    default:
      return effect.do;
  }
}

/** A core that is PRIM with its secondary in sync, in generation g1: adopted as it runs. */
export function primary(config: Partial<FailoverConfig> = {}): Driver {
  const driver = new Driver(config);
  const record = recordOf({ role: "PRIM", wasPrimaryAtParting: true });
  const adopt = { state: "PRIM", inSync: true } as const;
  driver.tell({ type: "boot", record, start: true, incarnation: "me", adopt }).peer(secondView());
  driver.report({ kind: "inSync" });
  driver.since();
  return driver;
}

/** A core that was ALONE and has just become PRIM, at the end of a reintegration. */
export function reintegrated(config: Partial<FailoverConfig> = {}): Driver {
  const driver = new Driver(config);
  const generations = { current: "g0", parted: null, history: [] };
  const target = recordOf({ consistency: "inconsistent", generations });
  driver.boot(recordOf({ role: "ALONE", wasPrimaryAtParting: true })).peer(viewOf("WAIT", target));
  const generation = driver.view.outdate;
  driver.peer(viewOf("WAIT", target, { outdatedIn: generation }));
  driver.peer(viewOf("SECOND", target, { outdatedIn: generation }));
  driver.peer(viewOf("SECOND", target, { caughtUp: generation }));
  driver.report({ kind: "caughtUp", side: "source", generations: driver.state.record.generations });
  driver.report({ kind: "inSync" });
  driver.peer(viewOf("SECOND", recordOf({ generations: driver.state.record.generations })));
  driver.since();
  return driver;
}

/** The view of a secondary in sync in generation g1. */
export function secondView(more: Partial<PeerView> = {}): PeerView {
  return viewOf("SECOND", recordOf(), more);
}

/** The view of a primary in generation g1. */
export function primView(more: Partial<PeerView> = {}): PeerView {
  return viewOf("PRIM", recordOf({ role: "PRIM" }), more);
}

/** A core that is SECOND in sync. */
export function secondary(config: Partial<FailoverConfig> = {}): Driver {
  const driver = new Driver(config);
  driver.boot(recordOf()).peer(primView()).report({ kind: "inSync" });
  driver.since();
  return driver;
}
