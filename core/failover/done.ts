/** An effect was done, or failed: what its step says about failures. */
import { type Body, emit, isCommitted, queueData, resetStream, type Step } from "./plan.ts";
import { notCut, wasCut } from "./power.ts";
import { backOff } from "./reintegration.ts";
import type { Draft, Lane } from "./state.ts";
import { fence, giveUp, restart } from "./stop.ts";
import { rollBack, takeBack } from "./swap.ts";

/** Takes the result of an effect in. Results of effects that were given up only count for what is on disk. */
export function onDone(draft: Draft, id: number, ok: boolean, detail: string): void {
  const write = draft.writes.find(({ effect }) => effect === id);
  if (write !== undefined) {
    draft.writes = draft.writes.filter(({ effect }) => effect !== id);
    if (ok) {
      draft.durable = write.record;
      if (draft.trouble?.startsWith(NOT_WRITTEN) === true) draft.trouble = null;
    } else draft.record = draft.durable;
  }
  for (const which of ["main", "data"] as const) {
    const waiting = draft[which].waiting;
    if (waiting?.effect !== id) continue;
    if (ok) done(draft, which, waiting);
    else failed(draft, which, waiting, detail);
    return;
  }
}

type Waiting = NonNullable<Lane["waiting"]>;

function done(draft: Draft, which: "main" | "data", { step }: Waiting): void {
  draft[which] = { ...draft[which], waiting: null };
  if (step.kind === "effect" && (step.body.do === "stopReplication" || step.body.do === "fence"))
    resetStream(draft, "idle");
  if (step.kind === "effect" && step.body.do === "goAlone")
    draft.replication = { ...draft.replication, peerGone: null, inSync: false };
  if (step.kind === "effect" && step.body.do === "hook" && step.body.hook === "fence") wasCut(draft);
}

function failed(draft: Draft, which: "main" | "data", waiting: Waiting, detail: string): void {
  const { step } = waiting;
  if (step.kind === "persist") {
    recordFailed(draft, which, step, detail);
    return;
  }
  if (step.kind !== "effect") return;
  const what = step.body.do === "hook" ? step.body.hook : step.body.do;
  const cause = `${what} failed on ${draft.config.node}: ${detail.replace(`${what} failed with `, "")}`;
  draft[which] = { ...draft[which], waiting: null };
  switch (waiting.attempt === "fence" ? "go on" : step.onFailure) {
    case "go on":
      draft.why.push(cause);
      if (step.body.do === "follow") {
        draft.trouble = cause;
        backOff(draft);
      }
      keepLease(draft, which, step.body);
      return;
    case "no takeover":
      notCut(draft, cause);
      return;
    case "stop again":
      stopAgain(draft, which, waiting, step, cause);
      return;
    case "fence":
      draft.why.push(`${cause}: by force`);
      resetStream(draft, "idle");
      waitFor(draft, which, step, "fence", emit(draft, { do: "fence" }));
      return;
    case "take back":
      takeBack(draft);
      return;
    case "roll back":
      rollBack(draft, cause);
      return;
    case "restart all":
      restart(draft, `${cause}: everything is restarted`);
      return;
    case "give up":
      giveUp(draft, cause);
  }
}

/** What was to end may not have ended: the lease ends by itself. */
function keepLease(draft: Draft, which: "main" | "data", body: Body): void {
  if (body.do === "hook" && !body.hook.startsWith("stop_")) return;
  const { steps } = draft[which];
  draft[which] = { ...draft[which], steps: steps.filter(({ kind }) => kind !== "release") };
}

/** A stop hook is called again with force; if that fails too, the application is killed. */
function stopAgain(draft: Draft, which: "main" | "data", waiting: Waiting, step: Step, cause: string): void {
  draft.why.push(cause);
  if (step.kind !== "effect" || step.body.do !== "hook") return;
  if (waiting.attempt === "first") {
    waitFor(draft, which, step, "force", emit(draft, { ...step.body, force: true }));
  } else if (waiting.attempt === "force" && draft.main.purpose === "restart") {
    // The kill takes mounts and address too: what a start hook would start now writes where nothing replicates.
    fence(draft, `${cause}: by force`);
  } else if (waiting.attempt === "force") {
    waitFor(draft, which, step, "fence", emit(draft, { do: "fence" }));
  }
}

function waitFor(
  draft: Draft,
  which: "main" | "data",
  step: Step,
  attempt: Waiting["attempt"],
  id: number,
): void {
  draft[which] = { ...draft[which], waiting: { effect: id, step, attempt } };
}

const NOT_WRITTEN = "the state of the module cannot be written";
const WRITE_AGAIN = 1000;

/** What cannot be recorded may not be done: a node that serves stops; what can wait is tried again. */
function recordFailed(draft: Draft, which: "main" | "data", step: Step, detail: string): void {
  const lane = draft[which];
  const cause = `${NOT_WRITTEN} on ${draft.config.node}: ${detail}`;
  if (draft.trouble !== cause) draft.why.push(cause);
  draft.trouble = cause;
  draft.writesBlocked = true;
  emit(draft, { do: "timer", name: "write again", ms: WRITE_AGAIN });
  if (which === "main" && lane.purpose === "stop") draft[which] = { ...lane, waiting: null };
  else if (isCommitted(draft) && lane.purpose !== "fence") {
    draft.wanted = false;
    draft.again = false;
    fence(draft, cause);
    // What a failed disk has made of this copy is not forgotten with the rest.
    if (step.kind === "persist" && step.patch.consistency === "suspect") queueData(draft, [step]);
  } else draft[which] = { ...lane, steps: [step, ...lane.steps], waiting: null };
}
