/**
 * The right to run without the peer's consent: who vouches for this node.
 *
 * What is known of the peer decides whether this copy may be promoted at all; then the witness is asked, where there is one, before "continue" is guessed.
 */
import { relation } from "./generations.ts";
import { byRule, type Draft, peerName, type State } from "./state.ts";
import { askLease, isAway, isLeased, isSole, isSuperseded, recorder } from "./witness.ts";

/** May this node serve without its peer, and why. */
export interface Right {
  granted: boolean;
  why: string;
}

/** May a secondary be promoted now that its primary is gone? `clean`: the primary said goodbye or is heard and does not serve. */
export function rightToTakeOver(state: State, clean: boolean): Right {
  const copy = promotable(state);
  if (copy !== null) return { granted: false, why: copy };
  if (state.config.maintenance) return { granted: false, why: "maintenance is on" };
  if (state.config.failover === "manual") return { granted: false, why: "failover is manual" };
  if (!clean && state.config.onIsolation === "wait" && recorder(state) === null)
    return {
      granted: false,
      why: "that may be a crash or a cut network, and onIsolation is wait",
    };
  return { granted: true, why: clean ? `${peerName(state)} does not serve` : `${peerName(state)} is silent` };
}

/** Why this copy may not be promoted, or null when it may. */
export function promotable(state: State): string | null {
  const why = unfit(state);
  return why === null ? null : byRule(why, "notuptodate_server");
}

function unfit(state: State): string | null {
  const { durable } = state;
  if (durable.consistency !== "uptodate")
    return durable.consistency === "inconsistent"
      ? "the reintegration of this copy was interrupted"
      : `this copy is ${durable.consistency}`;
  if (state.forbidden !== null) return `${peerName(state)} may have gone on without this copy`;
  if (state.peer !== null) {
    const related = relation(durable.generations, state.peer.record.generations);
    if (related !== "equal" && related !== "mineNewer" && related !== "blank")
      return `${peerName(state)} has newer data`;
  }
  return null;
}

/** May a node that was last ALONE start again without its peer being heard? */
export function rightToStartCold(state: State): Right {
  const { record } = state;
  if (record.role !== "ALONE" || record.consistency !== "uptodate")
    return { granted: false, why: byRule(`${peerName(state)} may have gone further`, "notuptodate_server") };
  if (state.config.onIsolation === "wait" && record.peerOutdatedIn !== record.generations.current)
    return {
      granted: false,
      why: `${peerName(state)} never confirmed that it is outdated, and onIsolation is wait`,
    };
  return { granted: true, why: "it was ALONE before, so its data is the newest" };
}

/** What the witness says to a node that wants to begin without its peer; `asked`: nothing yet. */
export interface Verdict {
  is: "granted" | "asked" | "refused";
  why: string;
}

const granted: Verdict = { is: "granted", why: "" };

/** Why a copy is out of date of which the witness says so. */
export function supersededBy(state: State): string {
  return byRule(
    `the witness has recorded that ${peerName(state)} goes on without this copy`,
    "notuptodate_server",
  );
}

/**
 * May this node go on, or begin, without its peer's consent, as far as the witness goes? Asks it. `begins`: it does not serve yet, and its peer may;
 * then a lease is needed too.
 */
export function askWitness(draft: Draft, generation: string, begins: boolean): Verdict {
  const { witness, kind } = draft.config;
  if (!witness || kind !== "mirror") return granted;
  const { refusal, denied } = draft.witness;
  const why = byRule(`the witness does not answer${refusal && ` (${refusal})`}`, "splitbrain_failure");
  if (!witness.records) {
    if (isLeased(draft)) return granted;
    askLease(draft);
    return { is: isAway(draft) ? "refused" : "asked", why };
  }
  if (isSole(draft, generation, begins)) return granted;
  if (isSuperseded(draft)) return { is: "refused", why: supersededBy(draft) };
  if (denied !== null)
    return {
      is: "refused",
      why: byRule(
        "the record at the witness is not the one that this copy is good for",
        "splitbrain_failure",
      ),
    };
  return { is: isAway(draft) ? "refused" : "asked", why };
}
