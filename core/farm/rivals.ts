/**
 * Two nodes that both serve clients and do not hear each other would each take all of them: in `mode: invisible` every connection would have two
 * answers, in `mode: directed` the address. Where a network is cut in two, neither can know. Where it is cut one way, or between some of the nodes
 * only, one of the two does know, or both do by way of a third: then one of them gives in. Pure.
 */
import { inOrder } from "./assignment.ts";
import type { FarmWord } from "./word.ts";

/** A node that this one hears where the clients are. */
export interface HeardNode extends Pick<FarmWord, "stage" | "hears"> {
  /** It says that it hears this one there. */
  hearsUs: boolean;
}

/**
 * The node for whose sake this one, `me`, takes no new clients; null: there is none. Who does not hear the other and cannot know of it goes on; of
 * two that both know, the first in order; and who is not open waits for who is.
 */
export function rivalOf(me: string, isOpen: boolean, heard: ReadonlyMap<string, HeardNode>): string | null {
  const givesIn = (other: string): boolean => !isOpen || inOrder([me, other])[0] === other;
  for (const [other, { stage, hearsUs, hears = [] }] of heard) {
    if (stage !== "open" || hearsUs) continue;
    const isToldOfUs = hears.some((third) => heard.get(third)?.hears?.includes(me));
    if (!isToldOfUs || givesIn(other)) return other;
  }
  for (const { hears = [], hearsUs } of heard.values()) {
    if (!hearsUs) continue;
    const other = hears.find((node) => node !== me && !heard.has(node) && givesIn(node));
    if (other !== undefined) return other;
  }
  return null;
}
