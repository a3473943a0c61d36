/**
 * Which copy is newer. Never a date: the lists of generations tell (trap 1).
 */
import type { CopyWord, DurableRecord, Generations, PeerView } from "./types.ts";

/** How this node's data relates to the peer's. */
export type Relation = "equal" | "mineNewer" | "theirsNewer" | "split-brain" | "unrelated" | "blank";

const HISTORY_LENGTH = 16;

/** Compares two lists of generations. `blank`: at least one side never held data. */
export function relation(mine: Generations, theirs: Generations): Relation {
  if (mine.current === "" || theirs.current === "") return "blank";
  if (mine.current === theirs.current) return "equal";
  if (theirs.history.includes(mine.current)) return "theirsNewer";
  if (mine.history.includes(theirs.current)) return "mineNewer";
  return mine.history.some((generation) => theirs.history.includes(generation)) ? "split-brain" : "unrelated";
}

/** The generations of a node that starts to write without its peer. */
export function partAs(generations: Generations, next: string): Generations {
  if (generations.current === next) return generations;
  if (generations.current === "") return { current: next, parted: null, history: [] };
  return {
    current: next,
    parted: generations.current,
    history: [generations.current, ...generations.history].slice(0, HISTORY_LENGTH),
  };
}

/**
 * The record of a node that is ALONE and begins anew, without its target or after a restart: a new generation takes the place of the current one, which
 * no other copy has. A target's belated "caught up" of the old one then means nothing.
 */
export function renewed(
  { generations, peerOutdatedIn }: DurableRecord,
  current: string,
): Pick<DurableRecord, "generations" | "peerOutdatedIn"> {
  return {
    generations: { ...generations, current },
    peerOutdatedIn: peerOutdatedIn === generations.current ? current : peerOutdatedIn,
  };
}

/** The generations of two nodes that are together again. */
export function together(generations: Generations): Generations {
  return generations.parted === null ? generations : { ...generations, parted: null };
}

/** What an election looks at. */
export type Candidate = Pick<
  DurableRecord,
  "role" | "generations" | "consistency" | "wasPrimaryAtParting" | "counter" | "peerCounter"
> & { copy?: CopyWord | null };

/** What the election looks at of the peer. */
export const peerCandidate = ({ record, copy = null }: PeerView): Candidate => ({ ...record, copy });

/** Who may start on its data when both nodes are heard and neither runs. */
export interface Election {
  winner: "me" | "peer" | "nobody";
  why: string;
}

/** Was this copy restored from a snapshot? Its peer remembers a later point than it does itself (trap 12a). */
export function isRestored(mine: Candidate, peer: Candidate): boolean {
  if (peer.peerCounter > mine.counter) return true;
  const remembered = peer.copy?.peer;
  if (!mine.copy || !remembered) return false;
  return (mine.copy.id === remembered.id ? mine.copy.counter : 0) < remembered.counter;
}

const roleRank = { NONE: 0, SECOND: 1, PRIM: 2, ALONE: 3 } as const;

/** In a split brain: does this node stay (G5)? The former PRIM stays; names break a tie. Both nodes compute the same. */
export function staysAfterSplit(mine: Candidate, theirs: Candidate, me: string, peer: string): boolean {
  if (mine.wasPrimaryAtParting !== theirs.wasPrimaryAtParting) return mine.wasPrimaryAtParting;
  return me < peer;
}

/** Why a copy is not good, in words. */
function worthOf([copy, other]: [Candidate, Candidate]): string {
  return isRestored(copy, other) ? "was put back to an older state" : `is ${copy.consistency}`;
}

/** Elects the node whose data counts. Both nodes come to the same answer from the same two records. */
export function elect(mine: Candidate, theirs: Candidate, me: string, peer: string): Election {
  const related = relation(mine.generations, theirs.generations);
  // Generations that are equal prove that nobody went on alone: a mark "outdated" is then only a promise that was not used.
  const isGood = (copy: Candidate, other: Candidate) =>
    !isRestored(copy, other) &&
    (copy.consistency === "uptodate" || (related === "equal" && copy.consistency === "outdated"));
  const good = { me: isGood(mine, theirs), peer: isGood(theirs, mine) };
  const onlyIfGood = (winner: "me" | "peer", why: string): Election =>
    good[winner]
      ? { winner, why }
      : {
          winner: "nobody",
          why: `${winner === "me" ? me : peer} has the newest data, but its copy ${worthOf(winner === "me" ? [mine, theirs] : [theirs, mine])}`,
        };
  switch (related) {
    case "blank": {
      const mineBlank = mine.generations.current === "";
      const theirsBlank = theirs.generations.current === "";
      if (mineBlank && theirsBlank) return { winner: "nobody", why: "neither node has held the data yet" };
      return onlyIfGood(mineBlank ? "peer" : "me", "the other node never held the data");
    }
    case "mineNewer":
      return onlyIfGood("me", `${peer} has older data`);
    case "theirsNewer":
      return onlyIfGood("peer", `${peer} has newer data`);
    case "equal": {
      if (good.me !== good.peer)
        return {
          winner: good.me ? "me" : "peer",
          why: `the copy of ${good.me ? peer : me} ${worthOf(good.me ? [theirs, mine] : [mine, theirs])}`,
        };
      if (!good.me) return { winner: "nobody", why: "neither copy is whole" };
      const rank = roleRank[mine.role] - roleRank[theirs.role];
      const first =
        rank !== 0
          ? rank > 0
          : mine.wasPrimaryAtParting !== theirs.wasPrimaryAtParting
            ? mine.wasPrimaryAtParting
            : me < peer;
      return {
        winner: first ? "me" : "peer",
        why: `both copies are equal, ${first ? me : peer} was primary`,
      };
    }
    case "split-brain": {
      const stays = staysAfterSplit(mine, theirs, me, peer);
      const name = stays ? me : peer;
      if (good[stays ? "me" : "peer"])
        return {
          winner: stays ? "me" : "peer",
          why: `both nodes ran alone; ${name} was primary when they parted`,
        };
      return { winner: "nobody", why: `both nodes ran alone, and the copy of ${name} is not whole` };
    }
    default:
      return { winner: "nobody", why: "the two copies have no common past" };
  }
}
