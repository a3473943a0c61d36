/**
 * What the nodes of a farm tell each other in their heartbeats, and what each makes of all that it was told. Pure.
 */
import { type Assignment, assign, elected, hashOf, inOrder, type Shares } from "./assignment.ts";

/**
 * Of one node: it takes new clients; it takes none, and keeps those that it has until they end; or it only hands packets on, since its
 * application is not up, or is about to stop.
 */
export type Stage = "open" | "draining" | "closed";

/** What a node says while it has the addresses and its filter works. */
export interface FarmWord {
  stage: Stage;
  /** MAC address where the virtual addresses are. */
  mac: string;
  /** Of the assignment that its filter goes by: the same on nodes that agree. */
  number: string;
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

/** `words` are those of all nodes that take part, this one's too. Where no node is open, those that drain serve on: nobody would be worse. */
export function planOf(shares: Shares, words: ReadonlyMap<string, Pick<FarmWord, "stage">>): FarmPlan {
  const at = (wanted: Stage): string[] =>
    inOrder([...words].flatMap(([node, { stage }]) => (stage === wanted ? [node] : [])));
  const open = at("open");
  const serving = open.length > 0 ? open : at("draining");
  const assignment = assign(shares, serving);
  return {
    serving,
    assignment,
    number: hashOf(assignment.join()).toString(16),
    answers: (address) => elected(address.split("/")[0]!, serving),
  };
}
