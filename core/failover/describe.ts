/** What the core tells others: the peer in every heartbeat, and people in `status`. */
import { isCommitted } from "./plan.ts";
import { isKept } from "./power.ts";
import { awaited } from "./rules.ts";
import { command, type Draft, isBusy, peerName, type State } from "./state.ts";
import type { ModuleState, PeerView, Readiness } from "./types.ts";

/** How settled the state is. */
export function readiness(state: State): Readiness {
  const moving = isBusy(state.main);
  switch (state.state) {
    case "STOP":
      return moving || state.wanted ? "Transient" : "NotReady";
    case "WAIT":
      return moving ||
        state.contact === "unknown" ||
        state.outdating !== null ||
        !state.wanted ||
        awaited(state).length > 0
        ? "Transient"
        : "NotReady";
    case "SECOND":
      if (isKept(state)) return "NotReady";
      return !moving && isWhole(state) && state.swap?.phase !== "drained" ? "Ready" : "Transient";
    case "PRIM":
      return !moving && (state.replication.inSync || !state.config.replicated) ? "Ready" : "Transient";
    default:
      return moving ? "Transient" : "Ready";
  }
}

function isWhole(state: State): boolean {
  const upToDate = state.durable.consistency === "uptodate" && state.forbidden === null;
  return upToDate && (state.replication.inSync || !state.config.replicated);
}

/** What this node tells its peer. Only what is durable is told of the record. */
export function view(state: State): PeerView {
  const { role, generations, consistency, wasPrimaryAtParting, counter, peerCounter, witness } =
    state.durable;
  return {
    state: state.state,
    readiness: readiness(state),
    record: { role, generations, consistency, wasPrimaryAtParting, counter, peerCounter, witness },
    copy: state.copy,
    incarnation: state.incarnation,
    outdate: state.outdating,
    caughtUp: state.state === "SECOND" ? (state.replication.caughtUp?.current ?? null) : null,
    outdatedIn: state.outdatedIn,
    swap: state.swap,
    promises: !isCommitted(state),
    leaving: state.leaving,
    resources: state.resources,
  };
}

/** One module on one node, for people. */
export interface Description {
  state: ModuleState;
  readiness: Readiness;
  /** Null where the word means nothing: a module without replicated data. */
  upToDate: boolean | null;
  reason: string;
  remedy?: string;
}

/** Says how the module is, in a sentence, and the exact command that helps where one is needed. */
export function describe(state: State): Description {
  const ready = readiness(state);
  const told: Description = {
    state: state.state,
    readiness: ready,
    upToDate:
      state.config.kind !== "mirror"
        ? null
        : state.durable.consistency === "uptodate" && state.forbidden === null,
    reason: sentence(state, ready),
  };
  if (state.state === "STOP" && ready === "NotReady" && state.trouble !== null)
    told.remedy = command(state, "start");
  const isWaiting = state.state === "WAIT" || state.state === "SECOND";
  if (state.remedy !== null && ready === "NotReady" && isWaiting) told.remedy = state.remedy;
  return told;
}

function sentence(state: State, ready: Readiness): string {
  const { reason, trouble } = state;
  const suspect =
    state.record.consistency === "suspect" && (state.state === "ALONE" || state.state === "PRIM")
      ? ` Its disk failed: the copy is suspect, and ${peerName(state)} cannot take over.`
      : "";
  const why = trouble !== null && trouble !== reason ? `${reason}; ${trouble}` : reason;
  const busy = ready === "Transient" && state.main.waiting !== null ? doing(state) : "";
  const held = state.held === "" ? "" : `; ${state.held}`;
  return `${why}${busy}${suspect}${held}`;
}

function doing(state: State): string {
  const step = state.main.waiting?.step;
  if (step?.kind !== "effect") return "";
  return step.body.do === "hook" ? ` (runs ${step.body.hook})` : "";
}

/** The sentence for the decision log. */
export function because(draft: Draft): string {
  return draft.why.join("; ");
}
