/** The simulator's story: what a node is told to do, in words. */
import type { Command, Effect } from "../../core/failover/types.ts";

/** What a node does; "" for what is no news. */
export function effectInWords(effect: Effect): string {
  switch (effect.do) {
    case "persist": {
      const { role, consistency, generations } = effect.record;
      return `records: ${role}, ${consistency}, generation ${generations.current || "none"}`;
    }
    case "hook":
      return `runs ${effect.hook}${effect.force ? " by force" : ""} (${effect.from} to ${effect.to})`;
    case "virtualIp":
      return `virtual IP ${effect.up ? "up" : "down"}`;
    case "serve":
      return `mounts and serves ${effect.alone ? "alone" : "together with the peer"}`;
    case "follow":
      return `follows${effect.full ? ", copies everything" : ""}${effect.sacrifice ? ", keeps its own writes aside" : ""}`;
    case "goAlone":
      return "releases what waited for the peer";
    case "sealStream":
      return "refuses the old primary's stream";
    case "stopReplication":
      return "unmounts, drains";
    case "askLease":
      return "asks the witness for a lease";
    case "recordSole":
      return `asks the witness to record ${effect.sole === null ? "that both are together" : "it as the sole one"}, where the version is ${effect.expected}`;
    case "fence":
      return "is fenced: application killed, mount aborted";
    default:
      return "";
  }
}

/** As it would be typed. */
export function commandInWords(command: Command): string {
  if (command.name === "prim") return command.force ? "prim --force" : "prim";
  if (command.name === "second") return command.full ? "second --full" : "second";
  return command.name;
}
