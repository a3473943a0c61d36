/** What people and rules may ask for, and the answers they get. */
import { countLoop, resetLoops } from "./loops.ts";
import { effect, emit, plan } from "./plan.ts";
import { forgetPower, isKept } from "./power.ts";
import { awaited, isLooking } from "./rules.ts";
import { hasOwnWrites } from "./split_brain.ts";
import { primRefused } from "./start.ts";
import { type Draft, heardPeer, isBusy, isServing, command as line, peerName, say } from "./state.ts";
import { forceStop, giveUp, restart, restartPart } from "./stop.ts";
import { askSwap, canSwapOut, newSwapId, swapOut } from "./swap.ts";
import type { Command, Event, ModuleState } from "./types.ts";
import { isAway, recorder } from "./witness.ts";

type CommandEvent = Extract<Event, { type: "command" }>;

/** Takes a command in. It is answered when what it started has come to rest. */
export function onCommand(draft: Draft, event: CommandEvent): void {
  const { command, by, cause } = event;
  const refusal = refused(draft, command);
  if (refusal !== null) {
    emit(draft, { do: "answer", command: event.id, ok: false, message: refusal });
    return;
  }
  if (by === "human") {
    resetLoops(draft);
    draft.trouble = null;
    draft.failedSwap = null;
    draft.obeyed = [];
    if (isKept(draft)) forgetPower(draft);
  } else if (command.name !== "stop" && command.name !== "start" && !countLoop(draft)) {
    giveUp(draft, `stopped by maxLoop: ${cause} asked for ${command.name} once more than allowed`);
    emit(draft, { do: "answer", command: event.id, ok: false, message: draft.reason });
    return;
  }
  draft.answers = [
    ...draft.answers,
    { id: event.id, name: command.name, from: draft.state, trouble: draft.trouble },
  ];
  draft.why.push(`${command.name} (${cause})`);
  act(draft, command, cause);
}

function act(draft: Draft, command: Command, cause: string): void {
  switch (command.name) {
    case "start":
      begin(draft);
      return;
    case "prim":
      draft.intent = { name: "prim", force: command.force };
      begin(draft);
      return;
    case "second":
      draft.intent = { name: "second", full: command.full };
      begin(draft);
      return;
    case "stop":
    case "stopstart":
      draft.wanted = false;
      draft.intent = null;
      draft.again = command.name === "stopstart";
      say(draft, command.name === "stop" ? `stopped (${cause})` : `stops and starts again (${cause})`);
      // Only what was begun and can be left is given up: a plan to stop or to hand over goes on to its end.
      if (draft.main.purpose !== "stop" && draft.main.purpose !== "fence")
        draft.main = { ...draft.main, steps: [] };
      return;
    case "forcestop":
      draft.wanted = false;
      draft.again = false;
      forceStop(draft, `stopped by force (${cause})`);
      return;
    case "restart":
      if (command.part === undefined) restart(draft, `restarted (${cause})`);
      else restartPart(draft, command.part, `${command.part} alone is restarted (${cause})`);
      return;
    case "swap":
      if (draft.state === "PRIM") swapOut(draft, newSwapId(draft), `swap (${cause})`);
      else askSwap(draft);
  }
}

function begin(draft: Draft): void {
  // What failed is still to be stopped: until then it cannot be followed again, whoever asks.
  const backOff = draft.replication.backOff && draft.replication.role === "following";
  draft.replication = { ...draft.replication, refused: null, backOff };
  // A stop is under way: once more, when it is over. What starts already goes on.
  if (!draft.wanted) draft.again = draft.state !== "STOP" || isBusy(draft.main);
  if (draft.state === "STOP" && !isBusy(draft.main)) {
    draft.wanted = true;
    draft.again = false;
  }
  if (draft.state === "SECOND" && draft.intent?.name === "second" && draft.intent.full)
    plan(draft, "follow", [
      effect({ do: "stopReplication" }),
      effect({
        do: "follow",
        full: true,
        sacrifice: hasOwnWrites(draft),
        generations: draft.record.generations,
      }),
      { kind: "change", change: { intent: null } },
    ]);
}

function refused(draft: Draft, command: Command): string | null {
  const { state } = draft;
  const settledDown = state === "STOP" || state === "WAIT";
  switch (command.name) {
    case "prim":
      if (draft.config.kind !== "mirror") return withoutRoles(draft);
      if (isServing(state)) return `this node is ${state} already`;
      if (!settledDown && !(command.force && isHeldByPower(draft)))
        return `this node is SECOND: exchange the roles with: ${line(draft, "swap")}, or stop it first`;
      return primRefused(draft, command.force);
    case "second": {
      if (draft.config.kind !== "mirror") return withoutRoles(draft);
      if (isServing(state))
        return `this node is ${state}: it would drop the service; stop it first, or use: ${line(draft, "swap")}`;
      if (state === "SECOND" && (!command.full || isBusy(draft.main)))
        return command.full ? busy(draft) : "this node is SECOND already";
      const peer = heardPeer(draft);
      if (draft.contact === "lost" || (peer !== null && !isServing(peer.state)))
        return `${peerName(draft)} is not primary: there is nothing to follow`;
      return null;
    }
    case "swap":
      return swapRefused(draft);
    case "restart":
      if (settledDown) return `the module is in state ${state}: there is nothing to restart`;
      if (command.part !== undefined && !runsHere(draft, command.part))
        return `${command.part} does not run on this node while it is ${state}`;
      return isBusy(draft.main) ? busy(draft) : null;
    case "stopstart":
      return state === "STOP" ? "the module is stopped" : null;
    default:
      return null;
  }
}

/** A secondary that would take over, were the power of its silent primary cut. */
function isHeldByPower({ state, power, contact }: Draft): boolean {
  return state === "SECOND" && contact !== "heard" && (power === "cutting" || power === "kept");
}

/** What is looked at now is what runs now. */
function runsHere(draft: Draft, part: string): boolean {
  const when = draft.config.watched?.checks[part];
  return when !== undefined && (isBusy(draft.main) || isLooking(when, draft.scope));
}

function swapRefused(draft: Draft): string | null {
  if (draft.config.kind !== "mirror") return withoutRoles(draft);
  if (isBusy(draft.main)) return busy(draft);
  const ready =
    draft.state === "PRIM"
      ? canSwapOut(draft)
      : draft.state === "SECOND" && draft.replication.inSync && heardPeer(draft)?.state === "PRIM";
  return ready
    ? null
    : `a swap needs a primary and a secondary that is up to date; this node is ${draft.state}, ${peerName(draft)} is ${heardPeer(draft)?.state ?? "silent"}`;
}

/** For commands that only a mirror knows. */
function withoutRoles(draft: Draft): string {
  const { kind, module } = draft.config;
  return `${module ?? "the module"} is a ${kind}: it has no primary and no secondary, each node runs its own; see: ${line(draft, "start")}, ${line(draft, "stop")}`;
}

function busy(draft: Draft): string {
  return `the module is in a transition (${draft.main.purpose}): try again when it is over`;
}

/** Answers the commands whose work has come to rest. */
export function answerCommands(draft: Draft): void {
  if (draft.answers.length === 0 || isBusy(draft.main)) return;
  if (draft.again || (draft.wanted && draft.state === "STOP") || (!draft.wanted && draft.state !== "STOP"))
    return;
  if (draft.state === "WAIT" && (draft.outdating !== null || awaited(draft).length > 0)) return;
  // Whether a peer is there is not known yet, and then the primary starts.
  if (draft.state === "WAIT" && draft.intent?.name === "prim" && draft.contact === "unknown") return;
  // Nor is it, before the witness has answered.
  if (draft.state === "WAIT" && draft.intent?.name === "prim" && recorder(draft) !== null && !isAway(draft))
    return;
  // The old primary's swap is over when the new one has started, or has given the role back.
  const theirs = heardPeer(draft)?.swap?.phase;
  if (draft.state === "SECOND" && (theirs === "stopping" || theirs === "drained")) return;
  if (draft.swap !== null && draft.swap.phase !== "promoted" && draft.swap.phase !== "failed") return;
  for (const { id, name, from, trouble } of draft.answers) {
    const ok = isDone(draft, name, from, draft.trouble !== null && draft.trouble !== trouble);
    const message = ok ? whatFollows(draft, name, from) : (draft.trouble ?? draft.reason);
    emit(draft, { do: "answer", command: id, ok, message });
  }
  draft.answers = [];
}

/** What a command did, and what follows from it. */
function whatFollows(draft: Draft, name: string, from: ModuleState): string {
  const { node } = draft.config;
  const peer = heardPeer(draft);
  const other = peerName(draft);
  if (name === "stop" || name === "forcestop") {
    if (peer === null || (peer.state !== "SECOND" && !isServing(peer.state))) return `stopped on ${node}`;
    const follows = isServing(from) ? "takes over" : "goes on";
    return `stopped on ${node}; ${other} ${follows} (--all stops it everywhere)`;
  }
  if (name === "swap") return `${node} is ${draft.state} now, ${other} is ${peer?.state ?? "silent"}`;
  const help = draft.state === "WAIT" && draft.remedy !== null ? `; it may help: ${draft.remedy}` : "";
  return `${node} is ${draft.state}: ${draft.reason}${help}`;
}

function isDone(draft: Draft, name: string, from: ModuleState, troubled: boolean): boolean {
  switch (name) {
    case "stop":
    case "forcestop":
      return draft.state === "STOP";
    case "prim":
      return isServing(draft.state);
    case "second":
      return draft.state === "SECOND" || draft.state === "WAIT";
    case "swap":
      return draft.state !== from && !troubled;
    case "restart":
      return !troubled;
    default:
      return draft.state !== "STOP";
  }
}
