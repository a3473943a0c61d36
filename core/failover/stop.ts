/** Everything that ends a service on this node: stop, hand over, fence. */
import { change, effect, emit, persist, plan, type Step, steps } from "./plan.ts";
import { type Draft, emptyLane, say } from "./state.ts";
import type { ModuleState } from "./types.ts";

/** The steps from any state to WAIT: application down, address down, stream ended. */
function down(draft: Draft, action: string, cause: string): Step[] {
  const from = draft.state;
  if (from !== "ALONE" && from !== "PRIM" && from !== "SECOND" && from !== "UP") return [];
  // A takeover that was given up once it was on record: no more of the old primary's stream is acknowledged, however long the hooks take.
  const decided = from === "SECOND" && draft.record.role === "ALONE";
  return steps(draft, decided ? "undone SECOND>WAIT" : `${from}>WAIT`, from, "WAIT", action, cause);
}

function told(draft: Draft, from: ModuleState, action: string, cause: string): Step[] {
  return from === "WAIT" || from === "STOP" ? [] : steps(draft, "any>WAIT then", from, "WAIT", action, cause);
}

/** What ran here has ended, and its address is down: whoever is next need not wait until the lease has ended too. */
function given(list: readonly Step[]): Step[] {
  return list.length === 0 ? [] : [{ kind: "release" }];
}

/** Stops the module here: the clean role is durable before the goodbye, so the peer may take over at once. */
export function stopModule(draft: Draft, action: string, cause: string): void {
  const from = draft.state;
  const ends = down(draft, action, cause);
  plan(draft, "stop", [
    ...ends,
    persist({ running: draft.again }),
    ...given(ends),
    change({ state: "WAIT", leaving: true, outdating: null, swap: null }),
    ...told(draft, from, action, cause),
    ...steps(draft, "WAIT>STOP", "WAIT", "STOP", action, cause),
    change({ state: "STOP" }),
  ]);
  say(draft, cause);
}

/** Stops the service here, but stays ready to follow whoever serves. */
export function toWait(draft: Draft, cause: string, extra: readonly Step[] = []): void {
  const from = draft.state;
  const ends = down(draft, "stopwait", cause);
  plan(draft, "wait", [
    ...ends,
    ...extra,
    ...given(ends),
    change({ state: "WAIT", outdating: null, swap: null }),
    ...told(draft, from, "stopwait", cause),
  ]);
  say(draft, cause);
}

/** Everything of it ends, without hooks. */
function killed(draft: Draft): Step[] {
  const address = draft.config.virtualIp ? [effect({ do: "virtualIp", up: false })] : [];
  return [effect({ do: "fence" }), ...address];
}

/** At once and without hooks: another node has the right to run. */
export function fence(draft: Draft, cause: string): void {
  const from = draft.state;
  draft.main = emptyLane;
  draft.data = emptyLane;
  const ends = killed(draft);
  plan(draft, "fence", [
    ...ends,
    ...given(ends),
    change({ state: "WAIT", outdating: null, swap: null }),
    ...steps(draft, "fenced>WAIT then", from, "WAIT", "fence", cause),
  ]);
  say(draft, cause);
}

/** `forcestop`: whatever goes on, down now. */
export function forceStop(draft: Draft, cause: string): void {
  draft.main = emptyLane;
  draft.data = emptyLane;
  const from = draft.state;
  const ends = killed(draft);
  plan(draft, "stop", [
    ...ends,
    ...(draft.config.replicated ? [effect({ do: "stopReplication" })] : []),
    persist({ running: false }),
    ...given(ends),
    change({ state: "WAIT", leaving: true, outdating: null, swap: null }),
    ...told(draft, from, "forcestop", cause),
    ...steps(draft, "WAIT>STOP", "WAIT", "STOP", "forcestop", cause),
    change({ state: "STOP" }),
  ]);
  say(draft, cause);
}

/** A start that failed: the module stops here, the reason stays visible, and the peer may take over. */
export function giveUp(draft: Draft, cause: string): void {
  draft.trouble = cause;
  draft.wanted = false;
  draft.again = false;
  stopModule(draft, "stop", cause);
}

/** One process or service is started again, and the rest of the application goes on. Where that fails, everything is. */
export function restartPart(draft: Draft, part: string, cause: string): void {
  const at = draft.state;
  const hook = {
    hook: "restart_process",
    from: at,
    to: at,
    action: "restart",
    force: false,
    cause,
    part,
  } as const;
  plan(draft, "restart part", [effect({ do: "hook", ...hook }, "restart all")]);
  emit(draft, { do: "publish" });
  say(draft, cause);
}

/** `restart`: stop and start hooks, nothing else moves. */
export function restart(draft: Draft, cause: string): void {
  const at = draft.state;
  if (at !== "ALONE" && at !== "PRIM" && at !== "SECOND" && at !== "UP") return;
  plan(draft, "restart", steps(draft, `restart ${at}`, at, at, "restart", cause));
  emit(draft, { do: "publish" });
  say(draft, cause);
}
