/**
 * What resources make a node do: the rules that a module's checkers stand for, and those that are written out.
 *
 * A rule acts as soon as its condition holds and the main lane is idle, once for each time that it comes to hold. A `wait` is obeyed only where
 * another node is better off: a target that is down for everybody must not stop the service everywhere.
 */
import { comparisons, holds, matches } from "../checks/condition.ts";
import { isRestored, peerCandidate, relation } from "./generations.ts";
import { countLoop } from "./loops.ts";
import { emit, type Purpose } from "./plan.ts";
import {
  byRule,
  candidate,
  type Draft,
  heardPeer,
  isBusy,
  isServing,
  peerName,
  type State,
  say,
} from "./state.ts";
import { giveUp, restart, restartPart, stopModule, toWait } from "./stop.ts";
import { canSwapOut, newSwapId, swapOut } from "./swap.ts";
import type { CheckScope, CheckWhen, Event, OtherNode, PeerView, Rule, RuleAction } from "./types.ts";

/** What undoes most comes first. */
const STRENGTH: readonly RuleAction[] = ["stop", "stopstart", "wait", "swap", "restart"];

/** Does a check look in this scope? */
export function isLooking(when: CheckWhen, scope: CheckScope): boolean {
  if (scope === "none") return false;
  return when === "pre" || when === scope || (when === "both" && scope !== "pre");
}

/** Takes a resource in, unless it is of a check that does not look: what it found belongs to a run that is over. */
export function onResource(draft: Draft, event: Extract<Event, { type: "resource" }>): void {
  const when = draft.config.watched?.checks[event.name];
  if (when !== undefined && !isLooking(when, draft.scope)) return;
  draft.resources = { ...draft.resources, [event.name]: event.state };
  draft.details = { ...draft.details, [event.name]: event.detail ?? "" };
}

/** A rule whose condition does not hold any more may act again. */
export function forgetObeyed(draft: Draft): void {
  if (draft.obeyed.length === 0) return;
  const still = rules(draft).filter((rule) => doesHold(draft, rule));
  draft.obeyed = draft.obeyed.filter((name) => still.some((rule) => rule.name === name));
}

/** Tells the daemon which checks look from now on. Those that begin, or end, are at init. */
export function attendChecks(draft: Draft): void {
  const scope = scopeOf(draft);
  const { watched } = draft.config;
  if (watched === undefined || scope === draft.scope) return;
  const resources = { ...draft.resources };
  for (const [name, when] of Object.entries(watched.checks))
    if (!isLooking(when, scope)) resources[name] = "init";
  draft.resources = resources;
  draft.scope = scope;
  emit(draft, { do: "check", scope });
}

/** What goes on beside an application that is left alone. */
const ASIDE: ReadonlySet<Purpose> = new Set(["tell", "restart part", "cut power"]);

function scopeOf({ booted, state, main, wanted }: State): CheckScope {
  if (!booted || state === "STOP") return "none";
  if (isBusy(main) && !ASIDE.has(main.purpose))
    return main.purpose === "start" || main.purpose === "stop" ? "none" : "pre";
  if (state === "WAIT") return wanted ? "pre" : "none";
  return state === "SECOND" ? "second" : "prim";
}

const rules = ({ config }: State): readonly Rule[] => config.watched?.rules ?? [];

function doesHold(state: State, rule: Rule): boolean {
  return holds(rule.if, state.resources, heardPeer(state)?.resources ?? {});
}

/** The checks before a start whose first word is waited for: a `wait` may follow from it. */
export function awaited(state: State): string[] {
  const checks = state.config.watched?.checks ?? {};
  const asked = rules(state)
    .filter(({ then }) => then === "wait")
    .flatMap((rule) => comparisons(rule.if));
  return Object.entries(checks).flatMap(([name, when]) => {
    const isAsked = asked.some((comparison) => !comparison.remote && matches(comparison.name, name));
    return when === "pre" && isAsked && (state.resources[name] ?? "init") === "init" ? [name] : [];
  });
}

/** Does this node stay in WAIT, since a rule says so? */
export function staysInWait(draft: Draft): boolean {
  const isForced = draft.intent?.name === "prim" && draft.intent.force;
  if (isForced) return false;
  const unknown = awaited(draft);
  if (unknown.length > 0) {
    say(draft, `waits for the first word of ${unknown.join(", ")}`);
    return true;
  }
  const rule = waitRule(draft);
  if (rule === undefined) {
    if (draft.keptBy !== "")
      draft.why.push(byRule(`${draft.keptBy} asks no more to wait`, "implicit_wakeup"));
    draft.keptBy = "";
    return false;
  }
  // Where no other node can serve, waiting is what the rule is for: nothing is taken down by it.
  const reason = draft.config.kind === "light" ? null : notBetterOff(draft);
  if (reason !== null) {
    shout(draft, refusal(draft, rule, reason));
    // It is not obeyed any more: as soon as another node is better off, it is again.
    draft.obeyed = draft.obeyed.filter((name) => name !== rule.name);
    draft.keptBy = "";
    return false;
  }
  draft.held = "";
  draft.keptBy = rule.name;
  draft.outdating = null;
  say(draft, `waits: ${causeOf(draft, rule)}`);
  return true;
}

/** Would a rule keep the peer in WAIT, as far as this node knows? */
export function isPeerWaiting(draft: State, peer: Pick<PeerView, "resources">): boolean {
  return rules(draft).some(
    ({ then, if: condition }) => then === "wait" && holds(condition, peer.resources, draft.resources),
  );
}

/** A node that runs does what the strongest of its rules says. Returns true when it began something. */
export function obey(draft: Draft): boolean {
  const due = rules(draft).filter((rule) => doesHold(draft, rule) && !draft.obeyed.includes(rule.name));
  const [first] = due;
  if (draft.config.maintenance && first !== undefined) {
    shout(draft, `maintenance is on: NO ${first.then}, though ${causeOf(draft, first)}`);
    return false;
  }
  let said = "";
  for (const rule of STRENGTH.flatMap((action) => due.filter(({ then }) => then === action))) {
    const reason = hindrance(draft, rule);
    if (reason === null) {
      act(draft, rule);
      return true;
    }
    // One at a time: two that take turns would be said aloud at every step.
    if (said === "" && reason !== "") said = refusal(draft, rule, reason);
  }
  shout(draft, said);
  return false;
}

/** Why a rule that is due is not obeyed, "" where that goes without saying, or null when it is. */
function hindrance(draft: Draft, { then: action }: Rule): string | null {
  if (action === "wait") return notBetterOff(draft);
  if (action !== "swap" || canSwapOut(draft)) return null;
  const peer = heardPeer(draft);
  const name = peerName(draft);
  if (!isServing(draft.state)) return "";
  return peer === null ? `${name} is silent` : `${name} is ${peer.state} and cannot take over yet`;
}

function act(draft: Draft, rule: Rule): void {
  const cause = causeOf(draft, rule);
  draft.obeyed = [...draft.obeyed, rule.name];
  // What it does is said again, though the same was said the last time.
  draft.reason = "";
  draft.held = "";
  // A secondary that waits takes nothing down.
  const isFree = rule.then === "stop" || (rule.then === "wait" && draft.state === "SECOND");
  if (!isFree && !countLoop(draft)) {
    giveUp(draft, `stopped by maxLoop: ${cause} asked for ${rule.then} once more than allowed`);
    return;
  }
  begin(draft, rule, cause);
}

function begin(draft: Draft, { then: action, part }: Rule, cause: string): void {
  switch (action) {
    case "restart":
      if (part === undefined) restart(draft, `restarted: ${cause}`);
      else restartPart(draft, part, `${part} alone is restarted: ${cause}`);
      return;
    case "swap":
      swapOut(draft, newSwapId(draft), `swap: ${cause}`);
      return;
    case "wait":
      toWait(draft, `waits: ${cause}`);
      return;
    case "stop":
      giveUp(draft, `stopped: ${cause}`);
      return;
    case "stopstart":
      draft.wanted = false;
      draft.again = true;
      stopModule(draft, "stopstart", `stops and starts again: ${cause}`);
  }
}

function waitRule(draft: Draft): Rule | undefined {
  return rules(draft).find((rule) => rule.then === "wait" && doesHold(draft, rule));
}

/** Why nobody would serve better while this node waits, or null when somebody would. */
function notBetterOff(draft: Draft): string | null {
  const { kind, others = null } = draft.config;
  if (kind === "light") return "no other node would serve";
  if (kind === "farm") return noneBetterOff(draft, others);
  const peer = heardPeer(draft);
  const name = peerName(draft);
  if (peer === null) return `${name} is silent`;
  if (isPeerWaiting(draft, peer)) return `${name} has the same trouble`;
  if (isServing(draft.state)) {
    if (draft.config.failover === "manual") return "failover is manual";
    const ready = peer.state === "SECOND" && peer.readiness === "Ready" && draft.state === "PRIM";
    return ready ? null : `${name} is ${peer.state} and cannot take over`;
  }
  if (isServing(peer.state)) return null;
  // A secondary beside a node that waits takes over, or comes to wait too.
  const isIdle = peer.state === "WAIT" || peer.state === "SECOND";
  if (draft.state !== "WAIT" || !isIdle) return `${name} is ${peer.state} and does not serve`;
  return couldStart(draft, peer) ? null : `${name} cannot start on its data`;
}

/** Of a farm: its nodes that serve are enough, and before a start those that are about to. Where nobody is known yet, nothing is taken down or started. */
function noneBetterOff(draft: Draft, others: readonly OtherNode[] | null): string | null {
  const isStarting = draft.state === "WAIT";
  if (others === null) return isStarting ? null : "it is not known yet whether another node serves";
  const serving = others.filter(
    ({ state, readiness }) => (state === "UP" && readiness === "Ready") || (isStarting && state !== "STOP"),
  );
  if (serving.length === 0) return "no other node serves";
  return serving.every((other) => isPeerWaiting(draft, other))
    ? "every other node has the same trouble"
    : null;
}

function couldStart(draft: Draft, peer: PeerView): boolean {
  const related = relation(draft.durable.generations, peer.record.generations);
  if (peer.record.consistency !== "uptodate") return false;
  if (related === "theirsNewer") return true;
  return related === "equal" && !isRestored(peerCandidate(peer), candidate(draft));
}

function refusal(draft: Draft, rule: Rule, why: string): string {
  return `NOT ${rule.then === "swap" ? "swapping" : "waiting"}, though ${causeOf(draft, rule)}: ${why}`;
}

/** Says aloud what is not done, once; "" for nothing. */
function shout(draft: Draft, text: string): void {
  if (draft.held === text) return;
  draft.held = text;
  if (text === "") return;
  draft.why.push(text);
  emit(draft, { do: "shout", text });
}

/** Why a rule acts, in words, with what the checks found. */
function causeOf(draft: Draft, rule: Rule): string {
  const found = comparisons(rule.if).flatMap(({ remote, name }) =>
    !remote && draft.resources[name] === "down" && draft.details[name] ? [draft.details[name]] : [],
  );
  const details = found.length > 0 ? `: ${found.join("; ")}` : "";
  return `${rule.words}${details} (rule ${rule.name})`;
}
