/**
 * One module on this node: feeds the failover core with what happens, in order, and carries out what it asks for.
 *
 * The core decides, this file only carries: no decision is taken here. Everything that the core is told and answers is
 * written to the module's journal, which is what `holdfast explain` reads.
 */
import { randomUUID } from "node:crypto";
import { effectInWords } from "../../explain/words.ts";
import { describe, initialState, step, view } from "../../failover/step.ts";
import type {
  CheckScope,
  DurableRecord,
  Effect,
  Event,
  FailoverConfig,
  PeerView,
  WitnessAnswer,
} from "../../failover/types.ts";
import { rightUntil } from "../../failover/witness.ts";
import type { CommandResult, NodeStatus } from "../engine.ts";
import type { Journal } from "../journal.ts";

/** An event without its clocks. */
type Bare<T> = T extends unknown ? Omit<T, "now" | "wall"> : never;
/** What the core is told: the supervisor puts the clocks to it. */
export type Happening = Bare<Event>;

/** What came of an effect. */
export interface Outcome {
  ok: boolean;
  detail: string;
}

/** What is asked of the witness. */
export type Question = Extract<Effect, { do: "askLease" | "recordSole" | "readWitness" }>;

/** Carries out the effects that have a result; never rejects. */
export interface Executor {
  execute(effect: Effect): Promise<Outcome>;
  /** No result: lets the replication process go on. */
  proceed(after: "reintegrating" | "caughtUp"): void;
  /** No result: these checks look from now on. */
  check(scope: CheckScope): void;
  /** No result: sends the view to the peer now. */
  publish(): void;
  /** Asks the witness; never rejects. */
  ask(question: Question): Promise<WitnessAnswer>;
  /** No result: gives the witness's lease back. */
  release(): void;
  /** Until when this node may run what it runs (`performance.now()`); null: there is no end to it. Told when it changes. */
  mayRun(until: number | null): void;
}

/** What is remembered though nothing was decided: what a node saw, and how long its steps took. */
const NEWS: ReadonlySet<Happening["type"]> = new Set([
  "boot",
  "command",
  "peerLost",
  "done",
  "replication",
  "fenced",
  "resource",
]);

/** What is asked again and again is no news, nor is a promise that holds on. */
const isRoutine = (what: Effect["do"]): boolean =>
  what === "timer" || what === "askLease" || what === "readWitness";

/** One supervised module. */
export class Supervisor {
  #state: ReturnType<typeof initialState>;
  readonly #queue: Happening[] = [];
  /** What is not acted on before it is known whether this node was fenced. */
  #held: Happening[] = [];
  #stepping = false;
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>();
  readonly #commands = new Map<string, (result: CommandResult) => void>();
  readonly #watchers = new Set<() => void>();
  /** What was begun and has not ended, by the number of its effect. */
  readonly #running = new Map<number, { what: string; since: number }>();
  #viewShown = "";
  /** As last told; not at all yet: the guardian may still have the word of the daemon before this one. */
  #until: number | null | undefined;
  #shown = "";
  #since = new Date().toISOString();

  constructor(
    config: FailoverConfig,
    private readonly incarnation: string,
    private readonly executor: Executor,
    private readonly journal: Journal,
    /** May be acted on what is told? When not, `awake` is called later. */
    private readonly isAwake: () => boolean,
  ) {
    this.#state = initialState(config);
  }

  /** Settings that the core looks up whenever it decides count from the next event on. */
  reconfigure(
    settings: Partial<
      Pick<
        FailoverConfig,
        | "failover"
        | "failback"
        | "maxLoop"
        | "watched"
        | "maintenance"
        | "witness"
        | "timeoutMs"
        | "fences"
        | "others"
      >
    >,
  ): void {
    this.#state = { ...this.#state, config: { ...this.#state.config, ...settings } };
  }

  /** The durable record as the core has it now. */
  get record(): DurableRecord {
    return this.#state.record;
  }

  /** Until when this node may run what it runs (`performance.now()`), whether anything has come of its end yet or not; null: there is no end to it. */
  get rightUntil(): number | null {
    return this.#until ?? null;
  }

  /** Are both copies the same, and does every write go to both? */
  get isInSync(): boolean {
    return this.#state.replication.inSync;
  }

  /** What this node tells its peer about the module. */
  view(resources: Readonly<Record<string, string>>): PeerView {
    return { ...view(this.#state), incarnation: this.incarnation, resources };
  }

  /** The module's line in `status`. */
  status(): Omit<NodeStatus, "resources"> {
    const { state, readiness, upToDate, reason, remedy } = describe(this.#state);
    return { state, readiness, upToDate, reason, since: this.#since, ...(remedy ? { remedy } : {}) };
  }

  /** Tells the core. Events are taken one at a time, in the order told. */
  tell(happening: Happening): void {
    // A fence is older than whatever else waited while this daemon did not run.
    if (happening.type !== "fenced" && (this.#held.length > 0 || !this.isAwake())) {
      this.#held.push(happening);
      return;
    }
    this.#queue.push(happening);
    if (this.#stepping) return;
    this.#stepping = true;
    try {
      for (let next = this.#queue.shift(); next; next = this.#queue.shift()) this.#step(next);
    } finally {
      this.#stepping = false;
    }
    for (const watcher of this.#watchers) watcher();
  }

  /** It is known by now what happened while this daemon did not run. */
  awake(): void {
    const held = this.#held;
    this.#held = [];
    for (const happening of held) this.tell(happening);
  }

  /** Gives a command to the core; resolves with its answer. */
  command(
    command: Extract<Happening, { type: "command" }>["command"],
    by: "human" | "rule",
    cause: string,
  ): Promise<CommandResult> {
    const id = randomUUID();
    return new Promise((resolve) => {
      this.#commands.set(id, resolve);
      this.tell({ type: "command", command, by, cause, id });
    });
  }

  /** Resolves true when `settled` holds, false after `timeoutMs`. */
  when(settled: () => boolean, timeoutMs: number): Promise<boolean> {
    if (settled()) return Promise.resolve(true);
    return new Promise((resolve) => {
      const finish = (value: boolean): void => {
        clearTimeout(timer);
        this.#watchers.delete(watcher);
        resolve(value);
      };
      const watcher = (): void => {
        if (settled()) finish(true);
      };
      const timer = setTimeout(() => finish(false), timeoutMs);
      this.#watchers.add(watcher);
    });
  }

  #step(happening: Happening): void {
    const event = { ...happening, now: performance.now(), wall: Date.now() } as Event;
    const { state, effects, why } = step(this.#state, event);
    this.#state = state;
    const until = rightUntil(state);
    if (until !== this.#until) this.executor.mayRun(until);
    this.#until = until;
    this.#remember(happening, effects, why);
    this.#carryOutAll(effects);
  }

  /** Starts effects in order; what follows a record in one list waits until it is on disk. */
  #carryOutAll(effects: readonly Effect[]): void {
    for (const [index, effect] of effects.entries()) {
      if (effect.do === "persist") return void this.#persistThen(effect, effects.slice(index + 1));
      this.#carryOut(effect);
    }
  }

  async #persistThen(persist: Effect, rest: readonly Effect[]): Promise<void> {
    this.#begins(persist);
    const outcome = await this.executor.execute(persist);
    if (outcome.ok) this.#carryOutAll(rest);
    else this.journal.line("error", `the record was not written: ${outcome.detail}`);
    this.#report(persist, outcome);
  }

  #begins(effect: Effect): void {
    this.#running.set(effect.id, { what: effectInWords({ ...effect }), since: performance.now() });
  }

  #report(effect: Effect, { ok, detail }: Outcome): void {
    if (!ok) this.journal.line("warning", `${effect.do}: ${detail}`);
    this.tell({ type: "done", effect: effect.id, ok, detail });
  }

  /** Writes down what was decided, and says so when people can see the difference. */
  #remember(happening: Happening, effects: readonly Effect[], why: string): void {
    const { state, readiness, reason } = describe(this.#state);
    if (effects.some(({ do: what }) => !isRoutine(what)) || why !== "" || this.#isNews(happening)) {
      this.journal.decision({
        event: withoutResources(happening),
        why,
        effects: effects.map(({ do: what, ...rest }) => ({ do: what, ...rest })),
        state,
        readiness,
        ...this.#ended(happening),
      });
    }
    const shown = `${state} ${readiness}`;
    if (shown !== this.#shown) {
      this.#shown = shown;
      this.#since = new Date().toISOString();
      this.journal.line("event", `Local state ${shown}: ${why || reason}`);
      this.executor.publish();
    } else if (why !== "" && effects.length > 0) this.journal.line("info", why);
  }

  /** Is it worth being remembered though nothing was decided? */
  #isNews(happening: Happening): boolean {
    if (happening.type === "peerLost") this.#viewShown = "";
    if (happening.type !== "peer") return NEWS.has(happening.type);
    const { state, readiness } = happening.view;
    const isNews = `${state} ${readiness}` !== this.#viewShown;
    this.#viewShown = `${state} ${readiness}`;
    return isNews;
  }

  /** What has ended with this event, and how long it took. */
  #ended(happening: Happening): { step?: { what: string; tookMs: number } } {
    if (happening.type !== "done") return {};
    const begun = this.#running.get(happening.effect);
    this.#running.delete(happening.effect);
    if (begun === undefined) return {};
    return { step: { what: begun.what, tookMs: Math.round(performance.now() - begun.since) } };
  }

  #carryOut(effect: Effect): void {
    switch (effect.do) {
      case "timer":
        clearTimeout(this.#timers.get(effect.name));
        this.#timers.delete(effect.name);
        if (effect.ms !== null) {
          this.#timers.set(
            effect.name,
            setTimeout(() => this.tell({ type: "timer", name: effect.name }), effect.ms),
          );
        }
        return;
      case "publish":
        this.executor.publish();
        return;
      case "proceed":
        this.executor.proceed(effect.after);
        return;
      case "check":
        this.executor.check(effect.scope);
        return;
      case "shout":
        this.journal.line("warning", effect.text);
        return;
      case "askLease":
      case "recordSole":
      case "readWitness":
        void this.executor
          .ask(effect)
          .then((answer) => this.tell({ type: "witness", effect: effect.id, answer }));
        return;
      case "releaseLease":
        this.executor.release();
        return;
      case "answer":
        this.#commands.get(effect.command)?.({ status: effect.ok ? 0 : 1, message: effect.message });
        this.#commands.delete(effect.command);
        return;
      default:
        this.#begins(effect);
        void this.executor.execute(effect).then((outcome) => this.#report(effect, outcome));
    }
  }

  /** Forgets timers and commands: the module is removed or the daemon ends. */
  dispose(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    for (const settle of this.#commands.values()) settle({ status: 1, message: "the daemon stops" });
    this.#timers.clear();
    this.#commands.clear();
  }
}

/** A peer's resources are its own journal's business, and the largest part of what it says. */
function withoutResources(happening: Happening): Happening {
  return happening.type === "peer" ? { ...happening, view: { ...happening.view, resources: {} } } : happening;
}
