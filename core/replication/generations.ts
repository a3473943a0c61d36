/**
 * Which copy is newer, after DRBD's generation identifiers. No date takes part: clocks jump, generations do not.
 *
 * A node that starts to write without its peer first writes, durably, a new `current`; `parted` remembers the generation
 * in which the two last were together. Comparing both lists tells what happened while they were apart.
 */
import type { DurableRecord, Generations } from "../failover/types.ts";

/** Former generations that are remembered. */
export const HISTORY_LENGTH = 16;

/**
 * How two copies are related, seen from this node. `theyAreAncestor`: this node went on without them and is the source.
 * `splitBrain`: both went on. `unrelated`: nothing in common, or nothing that can be trusted.
 */
export type Relation = "equal" | "theyAreAncestor" | "iAmAncestor" | "splitBrain" | "unrelated";

/** The answer of `relation`. */
export interface Verdict {
  relation: Relation;
  /** The marks do not reach back to where the copies parted: everything must be copied. */
  full: boolean;
  /** The copy that was put back to an older state (a snapshot of its machine) than its peer had confirmed. */
  restored: "mine" | "theirs" | null;
  /** One sentence for people. */
  why: string;
}

/** What `relation` needs of a node's record. */
export type Lineage = Pick<DurableRecord, "generations" | "counter" | "peerCounter" | "consistency"> & {
  /** It began a full copy of this very peer, and its marks tell all that the peer still lacks: both durably. */
  began?: boolean;
};

/** Compares this node's copy with the peer's. */
export function relation(mine: Lineage, theirs: Lineage): Verdict {
  if (mine.consistency === "blank" || theirs.consistency === "blank") return blankVerdict(mine, theirs);
  const verdict = compare(mine.generations, theirs.generations);
  // Each counter is durable here before the peer remembers it, so a lower one can only come from a restored snapshot.
  const iWasRestored = mine.counter < theirs.peerCounter;
  const theyWereRestored = theirs.counter < mine.peerCounter;
  if (!(iWasRestored || theyWereRestored) || verdict.relation === "unrelated") return verdict;
  if (iWasRestored && theyWereRestored) {
    return {
      relation: "unrelated",
      full: true,
      restored: null,
      why: "both copies are older than what their peer had confirmed",
    };
  }
  const restored = iWasRestored ? "mine" : "theirs";
  // The restored copy went on alone: its peer has acknowledged data that it lacks, and it has data of its own.
  if (
    verdict.relation === (iWasRestored ? "theyAreAncestor" : "iAmAncestor") ||
    verdict.relation === "splitBrain"
  ) {
    return {
      relation: "splitBrain",
      restored,
      full: true,
      why: `both nodes went on, one from a restored snapshot (${restored})`,
    };
  }
  return {
    relation: iWasRestored ? "iAmAncestor" : "theyAreAncestor",
    full: true,
    restored,
    why: iWasRestored
      ? `this copy was restored: its durable point is ${mine.counter}, the peer remembers ${theirs.peerCounter}`
      : `the peer's copy was restored: its durable point is ${theirs.counter}, this node remembers ${mine.peerCounter}`,
  };
}

/**
 * The generations of a node that starts to write without its peer. `fresh` is a new random identifier. The history gets the
 * generation that ends, so what stands before `parted` in it came after the parting.
 */
export function begin(generations: Generations, fresh: string): Generations {
  const { current, parted, history } = generations;
  return { current: fresh, parted: parted ?? current, history: bounded([current, ...history]) };
}

/** The generations of a source whose peer holds everything again. */
export function rejoin(generations: Generations): Generations {
  const { current, parted, history } = generations;
  if (parted === null) return generations;
  return {
    current,
    parted: null,
    history: history.includes(parted) ? history : bounded([parted, ...history]),
  };
}

/** The generations of a target that holds everything that the source has. */
export function adopt(source: Generations): Generations {
  return rejoin(source);
}

function compare(mine: Generations, theirs: Generations): Verdict {
  const verdict = (relation: Relation, full: boolean, why: string): Verdict => ({
    relation,
    full,
    restored: null,
    why,
  });
  if (mine.current === theirs.current)
    return verdict("equal", false, "both copies are of the same generation");
  const theyAreMyPast = pastOf(mine).includes(theirs.current);
  const iAmTheirPast = pastOf(theirs).includes(mine.current);
  if (theyAreMyPast && !iAmTheirPast) {
    return marksReachBackTo(theirs.current, mine)
      ? verdict("theyAreAncestor", false, "this node went on where the two parted")
      : verdict(
          "theyAreAncestor",
          true,
          "the peer is of a generation before the last parting: the marks do not reach back",
        );
  }
  if (iAmTheirPast && !theyAreMyPast) {
    return marksReachBackTo(mine.current, theirs)
      ? verdict("iAmAncestor", false, "the peer went on where the two parted")
      : verdict(
          "iAmAncestor",
          true,
          "this copy is of a generation before the last parting: the marks do not reach back",
        );
  }
  const shared = pastOf(mine).find((generation) => pastOf(theirs).includes(generation));
  if (shared === undefined) return verdict("unrelated", true, "the copies have no generation in common");
  const marksReachBack = mine.parted !== null && mine.parted === theirs.parted;
  return verdict("splitBrain", !marksReachBack, `both nodes went on alone from generation ${shared}`);
}

function blankVerdict(mine: Lineage, theirs: Lineage): Verdict {
  const both = mine.consistency === theirs.consistency;
  const why = both
    ? "both copies are blank"
    : `${mine.consistency === "blank" ? "this" : "the peer's"} copy is blank`;
  if (both) return { relation: "unrelated", full: true, restored: null, why };
  if (
    theirs.consistency === "blank" &&
    mine.began === true &&
    mine.counter >= theirs.peerCounter &&
    theirs.counter >= mine.peerCounter
  ) {
    const resumed = "the full copy that was interrupted goes on";
    return { relation: "theyAreAncestor", full: false, restored: null, why: resumed };
  }
  return {
    relation: mine.consistency === "blank" ? "iAmAncestor" : "theyAreAncestor",
    full: true,
    restored: null,
    why,
  };
}

/**
 * Do the marks of a copy that went on hold all that happened since this generation of the other? Since the parting, and
 * since any later one: the other can have that only from a reintegration that both its disk and the marks know of.
 */
function marksReachBackTo(generation: string, { parted, history }: Generations): boolean {
  if (parted === null) return false;
  return (
    generation === parted ||
    (history.includes(parted) && history.indexOf(generation) < history.indexOf(parted))
  );
}

/** Everything that a copy has been, its present state excluded. */
function pastOf({ parted, history }: Generations): readonly string[] {
  return parted === null || history.includes(parted) ? history : [parted, ...history];
}

const bounded = (history: readonly string[]): readonly string[] => history.slice(0, HISTORY_LENGTH);
