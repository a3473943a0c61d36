/** What a failover core was told, and what it asked for, in the words of the people who read it at night. Pure. */
import type { Decision } from "./told.ts";

type Happening = Decision["event"];
type Asked = Decision["effects"][number];

/** What the node saw; "" for what people need not see. `peer` is the other node's name. */
export function eventInWords(event: Happening, peer: string): string {
  switch (event.type) {
    case "boot":
      return bootInWords(event);
    case "command":
      return String(event["cause"]);
    case "peer":
      return viewInWords(event["view"], peer);
    case "peerLost":
      return String(event["cause"]);
    case "done":
      return event["ok"] === false ? String(event["detail"]) : "";
    case "replication":
      return reportInWords(event["report"] as Record<string, unknown>, peer);
    case "resource": {
      const detail = event["detail"] ? `: ${String(event["detail"])}` : "";
      return `${String(event["name"])} is ${String(event["state"])}${detail}`;
    }
    case "timer":
      return TIMERS[String(event["name"])] ?? "";
    case "fenced":
      return String(event["cause"]);
    default:
      return "";
  }
}

const TIMERS: Readonly<Record<string, string>> = {
  outdate: "the other node did not answer in time",
  join: "no secondary joined in time",
  "follow again": "the pause before the next attempt is over",
  "write again": "the pause before the next attempt is over",
  "fence again": "the pause before the next attempt is over",
  swap: "the other node did not begin the swap in time",
  reconfigured: "the module's configuration changed",
  others: "another node of the farm is not as it was",
};

function bootInWords(event: Happening): string {
  if (event["adopt"]) return "the daemon started; the module had gone on without it";
  return event["start"] ? "the daemon started, and the module with it" : "the module was loaded";
}

function viewInWords(view: unknown, peer: string): string {
  const { state, readiness, outdate } = view as { state: string; readiness: string; outdate: string | null };
  const asks = outdate ? `${peer} asks this node to record that its copy is out of date` : "";
  return asks || `${peer} says that it is ${state} ${readiness}`;
}

function reportInWords(report: Record<string, unknown>, peer: string): string {
  const detail = String(report["cause"] ?? report["detail"] ?? "");
  const more = detail === "" ? "" : `: ${detail}`;
  switch (report["kind"]) {
    case "inSync":
      return "both copies are the same, and every write goes to both";
    case "reintegrating":
      return report["side"] === "target"
        ? `what changed is fetched from ${peer}${report["full"] ? " (all of it)" : ""}`
        : `${peer} fetches what changed${report["full"] ? " (all of it)" : ""}`;
    case "caughtUp":
      return report["side"] === "target" ? "this copy has caught up" : `the copy of ${peer} has caught up`;
    case "peerGone":
      return `${peer} does not acknowledge writes any more${more}`;
    case "diskFailed":
      return `this node's disk failed${more}`;
    case "refused":
      return `the copies cannot be joined as they are (${String(report["relation"])})${more}`;
    case "died":
      return `the replication process died${more}`;
    default:
      return `replication: ${String(report["kind"])}${more}`;
  }
}

const ACTS: Readonly<Record<string, string>> = {
  serve: "mount and serve the directories",
  goAlone: "let writes go on without the peer",
  follow: "follow the primary",
  sealStream: "apply what was received, refuse more",
  stopReplication: "hand over, unmount",
  fence: "kill the application, unmount (fence)",
  releaseLease: "give the lease back to the witness",
};

/** What was asked for; "" for what people need not see. */
export function effectInWords(effect: Asked): string {
  switch (effect.do) {
    case "hook":
      return hookInWords(effect);
    case "virtualIp":
      return effect["up"] ? "virtual address up" : "virtual address down";
    case "persist": {
      const { role, consistency } = effect["record"] as { role: string; consistency: string };
      return `record on disk (${role}, ${consistency})`;
    }
    default:
      return ACTS[effect.do] ?? "";
  }
}

function hookInWords(effect: Asked): string {
  if (effect["part"]) return `restart of ${String(effect["part"])} alone`;
  if (effect["hook"] === "fence") return "cut the power of the other node (hook fence)";
  return `${String(effect["hook"])}${effect["force"] ? " with force" : ""}`;
}
