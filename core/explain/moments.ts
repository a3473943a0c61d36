/**
 * From one node's decisions to moments: what it saw, what it decided, what ran because of that, what became of it. Pure.
 *
 * Each effect has a number, and its end an event that names it: so what ran belongs to the decision that asked for it, though other decisions came
 * between. Numbers begin anew with each start of the daemon.
 */
import { type Decision, SHARES, type Told } from "./told.ts";
import { effectInWords, eventInWords } from "./words.ts";

/** What kind of news it was, for what would have prevented it. */
export type Cause =
  | "boot"
  | "command"
  | "lost"
  /** Both nodes had run alone. */
  | "split"
  | "peer"
  | "resource"
  | "rule"
  | "failed"
  | "fenced"
  | "replication"
  | "warning"
  | "other";

/** One step that ran. */
export interface Ran {
  what: string;
  /** ms. */
  tookMs: number;
  /** "" when it succeeded. */
  trouble: string;
  /** The last lines that a hook printed before it failed. */
  printed?: readonly string[];
}

/** A change of a node's state. Times in ms since 1970, on the asker's clock. */
export interface Change {
  at: number;
  state: string;
  readiness: string;
}

/** One moment of one node. */
export interface Moment {
  at: number;
  node: string;
  cause: Cause;
  saw: string;
  /** The core's own sentence; "" when nothing was decided. */
  decided: string;
  /** The rule that decided, or null. */
  rule: string | null;
  /** With cause `lost`: who fell silent. */
  lost?: string;
  ran: Ran[];
  became: Change[];
}

/** What one node's side comes to. */
export interface Side {
  moments: Moment[];
  changes: Change[];
  /** What it heard its peers say: state and readiness, or silence (state ""). */
  heard: (Change & { peer: string })[];
}

const PRINTED_LINES = 6;
/** What is written to two files at once has times that differ by less, ms. */
const SAME_MS = 1000;
/** A node without roles decides nothing when another falls silent: its log has it. */
const SILENT = /^(?:no sign of life from (\S+)|(\S+) was not heard) for /;
const RULE = /\(rule ([\w-]+)\)/;
const SPLIT = /(^|; )split brain: /;
const CAUSES: Readonly<Record<string, Cause>> = {
  boot: "boot",
  command: "command",
  peer: "peer",
  peerLost: "lost",
  resource: "resource",
  replication: "replication",
  fenced: "fenced",
};

/** `peer`: the node that this one's events speak of; null: there may be several, or none. */
export function momentsOf(told: Told, peer: string | null): Side {
  const reader = new Reader(told, peer);
  for (const decision of told.decisions) reader.take(decision);
  reader.warnings();
  reader.side.moments.sort((a, b) => a.at - b.at);
  return reader.side;
}

class Reader {
  readonly side: Side = { moments: [], changes: [], heard: [] };
  /** By effect, the moment that asked for it. */
  #owners = new Map<number, { moment: Moment; isHook: boolean }>();
  #shown = "";
  #view = "";
  /** What decisions said. */
  readonly #said: { at: number; text: string }[] = [];

  constructor(
    private readonly told: Told,
    private readonly peer: string | null,
  ) {}

  take(decision: Decision): void {
    const { event, why, effects } = decision;
    if (event.type === "boot") this.#owners.clear();
    const shouts = effects.map(({ text }) => String(text ?? ""));
    const said = [why, eventInWords(event, this.peer ?? ""), ...shouts].join("\n");
    this.#said.push({ at: Date.parse(decision.time), text: said });
    const owner = event.type === "done" ? this.#finish(decision) : undefined;
    const moment = owner && why === "" ? owner : this.#momentOf(decision);
    if (moment !== owner && moment !== undefined) this.side.moments.push(moment);
    if (moment !== undefined)
      for (const { id, do: act } of effects)
        if (id !== undefined) this.#owners.set(id, { moment, isHook: act === "hook" });
    this.#follow(decision, moment);
  }

  /** Something that was asked for has ended. Returns who asked. */
  #finish({ time, event, step }: Decision): Moment | undefined {
    const id = Number(event["effect"]);
    const { moment: owner, isHook } = this.#owners.get(id) ?? {};
    this.#owners.delete(id);
    // A hook that the module does not have says nothing.
    const ran = !isHook || event["detail"] !== "";
    if (owner === undefined || step === undefined || step.what === "" || !ran) return owner;
    const trouble = event["ok"] === false ? String(event["detail"]) : "";
    const end = Date.parse(time);
    const printed = trouble === "" ? [] : this.#printed(end - step.tookMs, end);
    owner.ran.push({ ...step, trouble, ...(printed.length > 0 ? { printed } : {}) });
    return owner;
  }

  #printed(from: number, to: number): string[] {
    return this.told.lines
      .filter(({ level, time, text }) => {
        const at = Date.parse(time);
        return level === "script" && at >= from - 20 && at <= to + 20 && !/^Script \w+/.test(text);
      })
      .map(({ text }) => text)
      .slice(-PRINTED_LINES);
  }

  #momentOf({ time, event, why, effects }: Decision): Moment | undefined {
    const acts = effects.filter((effect) => effectInWords(effect) !== "");
    const isFailure = event.type === "done" && event["ok"] === false;
    const isNews = event.type === "peer" ? this.#isNews(event) : event.type in CAUSES || isFailure;
    if (why === "" && acts.length === 0 && !isNews) return undefined;
    const rule = RULE.exec(why)?.[1] ?? null;
    const cause = causeOf(why, rule, isFailure, event.type);
    const saw = eventInWords(event, this.peer ?? "the other node");
    const decided = withoutEcho(why, saw, event);
    const lost = event.type === "peerLost" && this.peer !== null ? { lost: this.peer } : {};
    return {
      at: Date.parse(time),
      node: this.told.node,
      cause,
      saw,
      decided,
      rule,
      ...lost,
      ran: [],
      became: [],
    };
  }

  /** The peer repeats itself all the time: only another state is news. */
  #isNews(event: Decision["event"]): boolean {
    const { state, readiness } = event["view"] as { state: string; readiness: string };
    const view = `${state} ${readiness}`;
    const isNews = view !== this.#view;
    this.#view = view;
    return isNews;
  }

  #follow({ time, event, state, readiness }: Decision, moment: Moment | undefined): void {
    const at = Date.parse(time);
    const { peer } = this;
    if (peer !== null && event.type === "peer") {
      const view = event["view"] as { state: string; readiness: string };
      this.side.heard.push({ peer, at, state: view.state, readiness: view.readiness });
    }
    if (event.type === "peerLost") {
      this.#view = "";
      if (peer !== null) this.side.heard.push({ peer, at, state: "", readiness: "" });
    }
    const shown = `${state} ${readiness}`;
    if (shown === this.#shown && event.type !== "boot") return;
    this.#shown = shown;
    const change = { at, state, readiness };
    this.side.changes.push(change);
    moment?.became.push(change);
  }

  /** What the log warns of and no decision says, and who serves whom. */
  warnings(): void {
    for (const { level, time, text } of this.told.lines) {
      const at = Date.parse(time);
      const shares = level === "event" ? SHARES.exec(text)?.[1] : undefined;
      if (shares !== undefined)
        this.side.moments.push(this.#bare(at, "other", `clients are shared out: ${shares}`));
      if ((level !== "warning" && level !== "error") || this.#isSaid(text, at)) continue;
      const [, gone, unheard] = SILENT.exec(text) ?? [];
      const lost = gone ?? unheard;
      this.side.moments.push(
        lost === undefined ? this.#bare(at, "warning", text) : { ...this.#bare(at, "lost", text), lost },
      );
      if (lost !== undefined) this.side.heard.push({ peer: lost, at, state: "", readiness: "" });
    }
  }

  #bare(at: number, cause: Cause, saw: string): Moment {
    return { at, node: this.told.node, cause, saw, decided: "", rule: null, ran: [], became: [] };
  }

  /** A decision is logged too, at the same time, sometimes with the name of its step before it. */
  #isSaid(text: string, at: number): boolean {
    const bare = text.replace(/^\w+: /, "");
    return this.#said.some((one) => Math.abs(at - one.at) <= SAME_MS && one.text.includes(bare));
  }
}

function causeOf(why: string, rule: string | null, isFailure: boolean, event: string): Cause {
  if (rule !== null) return "rule";
  if (isFailure) return "failed";
  return SPLIT.test(why) ? "split" : (CAUSES[event] ?? "other");
}

/** The core says first what it was told. */
function withoutEcho(why: string, saw: string, event: Decision["event"]): string {
  const name = (event["command"] as { name?: string } | undefined)?.name;
  const echo = name === undefined ? saw : `${name} (${saw})`;
  if (echo === "" || !why.startsWith(echo)) return why;
  return why.slice(echo.length).replace(/^; /, "");
}
