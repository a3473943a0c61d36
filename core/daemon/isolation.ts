/**
 * Which promise holds when the nodes of a mirror cannot hear each other: people should know it before that day, so `status` and `doctor` say it.
 */
import type { ModuleConfig } from "../../modules/schema.ts";

/** What holds then. `isExclusive`: the application never runs on both. */
export interface IsolationPromise {
  isExclusive: boolean;
  /** In a sentence, which begins in the middle: "if the nodes are cut off from each other, …". */
  words: string;
}

/**
 * The promise of a module; null where there is no other node that could take over. `isWitnessed`: a witness records who goes on alone; `fences`: it has
 * a hook that cuts the other's power.
 */
export function isolationPromise(
  config: ModuleConfig,
  isWitnessed = false,
  fences = false,
): IsolationPromise | null {
  if (config.kind !== "mirror") return null;
  if (isWitnessed && config.failover !== "manual")
    return {
      isExclusive: true,
      words: "if the nodes are cut off from each other, the one that the witness records runs, and no other",
    };
  const only = (why: string): IsolationPromise => ({
    isExclusive: true,
    words: `if the nodes are cut off from each other, only the primary runs (${why})`,
  });
  if (config.failover === "manual")
    return only("failover: manual, so nobody takes over from a dead one either");
  if (config.onIsolation === "wait")
    return only("onIsolation: wait, so the secondary waits for a person when a primary dies, too");
  if (fences)
    return {
      isExclusive: true,
      words:
        "if the nodes are cut off from each other, the primary runs until the secondary's hook fence has cut its power; then the secondary does",
    };
  return {
    isExclusive: false,
    words:
      "if the nodes are cut off from each other, both run (onIsolation: continue, no witness that records); afterwards one copy counts, and what the other had written is kept on its node in VAR/saved",
  };
}
