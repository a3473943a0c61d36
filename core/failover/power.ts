/**
 * Power fencing: where the module has a hook `fence`, it must have cut the other node's power before this one begins to serve while that one is silent.
 *
 * It comes last, when all else allows it to serve, so that nobody's power is cut in vain; and since a hook may take longer than a lease lasts, all else is
 * asked again after it. As soon as the other is heard, what the hook did counts for nothing. A person's `prim --force` does without.
 */
import { effect, emit, plan } from "./plan.ts";
import { command, type Draft, peerName, type State, say } from "./state.ts";

/** Between two attempts, ms. */
const PAUSE = 10_000;

/** May this node begin to serve, as far as the power of its silent peer goes? Where that is not known, the hook is run, and it may not yet. */
export function isOff(draft: Draft, cause: string): boolean {
  if (draft.config.fences !== true || draft.power === "off") return true;
  if (draft.power !== "kept") cut(draft, cause);
  return false;
}

/** The hook failed, and is not tried again before the pause is over: until then nothing else is asked. */
export function isKept(state: State): boolean {
  return state.config.fences === true && state.power === "kept";
}

function cut(draft: Draft, cause: string): void {
  const { state, config } = draft;
  const hook = { hook: "fence", from: state, to: "ALONE", action: "fence", force: false, cause } as const;
  draft.power = "cutting";
  plan(draft, "cut power", [effect({ do: "hook", ...hook }, "no takeover")]);
  say(draft, `${cause}: the power of ${peerName(draft)} is cut before ${config.node} begins`);
}

/** The hook says that the power is off. That counts if the other was not heard meanwhile. */
export function wasCut(draft: Draft): void {
  draft.power = draft.power === "cutting" ? "off" : "unknown";
}

/** The hook failed. */
export function notCut(draft: Draft, cause: string): void {
  if (draft.power !== "cutting") return;
  const { node } = draft.config;
  const text = `${cause}: ${node} does NOT take over, since ${peerName(draft)} may still run; tried again in ${PAUSE / 1000} s`;
  draft.power = "kept";
  if (draft.intent?.name === "prim" && !draft.intent.force) draft.intent = null;
  emit(draft, { do: "shout", text });
  emit(draft, { do: "timer", name: "fence again", ms: PAUSE });
  say(draft, text, command(draft, "prim --force"));
}

/** The other is heard, or the pause is over: nothing is known of its power. */
export function forgetPower(draft: Draft): void {
  draft.power = "unknown";
}
