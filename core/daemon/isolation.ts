/**
 * Which promise holds when the nodes of a mirror cannot hear each other: people should know it before that day, so `status` and `doctor` say it.
 */
import type { ModuleConfig } from "../../modules/schema.ts";

/** What holds then. `isExclusive`: the application never runs on both. */
export interface IsolationPromise {
  isExclusive: boolean;
  /** In a sentence, which begins in the middle: "cut off from each other, …". */
  words: string;
}

/** The promise of a module; null where there is no other node that could take over. `isWitnessed`: a witness records who goes on alone. */
export function isolationPromise(config: ModuleConfig, isWitnessed = false): IsolationPromise | null {
  if (config.kind !== "mirror") return null;
  if (isWitnessed && config.failover !== "manual")
    return {
      isExclusive: true,
      words: "cut off from each other, the node that the witness records runs, and no other",
    };
  const only = (why: string): IsolationPromise => ({
    isExclusive: true,
    words: `cut off from each other, only the primary runs (${why})`,
  });
  if (config.failover === "manual")
    return only("failover: manual, so nobody takes over from a dead one either");
  if (config.onIsolation === "wait")
    return only("onIsolation: wait, so the secondary waits for a person when a primary dies, too");
  return {
    isExclusive: false,
    words:
      "cut off from each other, both nodes run (onIsolation: continue, no witness); afterwards one copy counts, and what the other had written is kept on its node in VAR/saved",
  };
}
