/**
 * What the nodes of a farm tell each other in their heartbeats, and what each makes of all that it was told. Pure.
 */
import { type Assignment, assign, elected, hashOf, inOrder, type Shares } from "./assignment.ts";

/**
 * Of one node: it takes new clients; it is well, and takes none for a reason that it tells; it takes none on a person's word; a checker says that its
 * application is down; or it only hands packets on, since its application is not up, or is about to stop. All but the last keep the connections that
 * they have until they end.
 */
export type Stage = "open" | "held" | "draining" | "unwell" | "closed";

/** What a node says while it has the addresses and its filter works. */
export interface FarmWord {
  stage: Stage;
  /** MAC address where the virtual addresses are. */
  mac: string;
  /** Of the assignment that its filter goes by: the same on nodes that agree. */
  number: string;
  /** The nodes that it hears where the clients are, and that are open. */
  hears?: readonly string[];
  /** Why it should take no new clients, for people: it gets them all the same where no other node does. */
  why?: string;
}

/** What follows from the words. */
export interface FarmPlan {
  /** Nodes that get new clients, sorted. */
  serving: readonly string[];
  assignment: Assignment;
  number: string;
  /** The node that answers who asks for a virtual address (CIDR or host); null: none. */
  answers(address: string): string | null;
}

/** Nodes that are at the first of these get the new clients: what is wrong with every node must not close the farm. */
const BEST_FIRST: readonly (readonly Stage[])[] = [["open"], ["held", "draining"], ["unwell"]];

/** `words` are those of all nodes that take part, this one's too. */
export function planOf(shares: Shares, words: ReadonlyMap<string, Pick<FarmWord, "stage">>): FarmPlan {
  const at = (wanted: readonly Stage[]): string[] =>
    inOrder([...words].flatMap(([node, { stage }]) => (wanted.includes(stage) ? [node] : [])));
  const serving = BEST_FIRST.map(at).find((nodes) => nodes.length > 0) ?? [];
  const assignment = assign(shares, serving);
  return {
    serving,
    assignment,
    number: hashOf(assignment.join()).toString(16),
    answers: (address) => elected(address.split("/")[0]!, serving),
  };
}

/** Do all the others go by the assignment of this number? */
export const areSettled = (others: ReadonlyMap<string, FarmWord> | null, by: string | undefined): boolean =>
  [...(others?.values() ?? [])].every(({ number }) => number === by);

/** How a node's application is: found well, up although a checker says that it is not, or not up. */
export type Standing = "well" | "unwell" | "away";

/** What a node says of itself. `held`: why it takes no new clients though it is well; null: nothing speaks against it. */
export function stageOf(
  standing: Standing,
  isDrained: boolean,
  held: string | null,
): Pick<FarmWord, "stage" | "why"> {
  if (standing === "away") return { stage: "closed" };
  if (standing === "unwell") return { stage: "unwell" };
  if (isDrained) return { stage: "draining", why: "it is being drained" };
  return held === null ? { stage: "open" } : { stage: "held", why: held };
}

/** What people are told of a node that should take no new clients. `buckets`: those that it has all the same. */
export function heldText(why: string, buckets: number | undefined): string {
  return buckets
    ? `takes new clients since no other node does, though ${why}`
    : `takes no new clients: ${why}`;
}
