/**
 * The resources of a mirror's data, which no checker sets: for rules, and for people. Pure.
 */
import type { ResourceState } from "../../checks/condition.ts";
import type { DurableRecord, ModuleState } from "../../failover/types.ts";

/** One resource, as it is now. */
export interface NotedResource {
  name: string;
  state: ResourceState;
  detail: string;
}

/**
 * `replication.uptodate`: this node's copy may be served. `replication.insync`: the other node's is the same, and every write goes to both; not
 * known while this node neither serves nor follows.
 */
export function replicationResources(
  state: ModuleState,
  isInSync: boolean,
  { consistency }: Pick<DurableRecord, "consistency">,
): NotedResource[] {
  const isUpToDate = consistency === "uptodate";
  const takesPart = state === "PRIM" || state === "SECOND" || state === "ALONE";
  return [
    {
      name: "replication.uptodate",
      state: consistency === "blank" ? "init" : isUpToDate ? "up" : "down",
      detail: isUpToDate || consistency === "blank" ? "" : `this copy is ${consistency}`,
    },
    {
      name: "replication.insync",
      state: !takesPart ? "init" : isInSync ? "up" : "down",
      detail: !takesPart || isInSync ? "" : "the copies are not the same, or not known to be",
    },
  ];
}
