/** Does another module serve, on this node or on any? */
import type { NodeStatus } from "../../daemon/engine.ts";
import { down, type Probe, up } from "../probe.ts";

/** What a node knows of a module on every node of it; null: it has no such module. */
export type StatusOf = (module: string) => Readonly<Record<string, NodeStatus>> | null;

const SERVES = new Set(["ALONE", "PRIM", "UP"]);

/** `node` is this one's name. */
export function moduleProbe(
  module: string,
  on: "here" | "anywhere",
  node: string,
  statusOf: StatusOf,
): Probe {
  return {
    look: async () => {
      const nodes = statusOf(module);
      if (nodes === null) return down(`there is no module ${module} on ${node}`);
      const asked = Object.entries(nodes).filter(([name]) => on === "anywhere" || name === node);
      const serving = asked.find(([, { state, readiness }]) => SERVES.has(state) && readiness === "Ready");
      if (serving) return up(`${serving[1].state} on ${serving[0]}`);
      const states = asked.map(([name, { state, readiness }]) => `${state} ${readiness} on ${name}`);
      return down(`${module} does not serve: ${states.join(", ") || `it is not on ${node}`}`);
    },
  };
}
