/**
 * `holdfast explain`: from the decision journal to plain words, in order: what the node saw, what decided, what ran.
 */

/** One entry of decisions.log, as the supervisor writes it. */
interface Decision {
  time: string;
  node: string;
  why: string;
  state: string;
  readiness: string;
  event: { type: string } & Record<string, unknown>;
  effects: ({ do: string } & Record<string, unknown>)[];
}

/** What happened, in words. */
function eventInWords(event: Decision["event"]): string {
  switch (event.type) {
    case "boot":
      return "the daemon started";
    case "command":
      return `command ${(event["command"] as { name: string }).name} (${String(event["cause"])})`;
    case "peer": {
      const { state, readiness } = event["view"] as { state: string; readiness: string };
      return `the peer says ${state} ${readiness}`;
    }
    case "peerLost":
      return `the peer is lost: ${String(event["cause"])}`;
    case "done":
      return event["ok"] ? "a step is done" : `a step failed: ${String(event["detail"])}`;
    case "replication": {
      const report = event["report"] as { kind: string; cause?: string; detail?: string };
      return `replication: ${report.kind}${report.cause || report.detail ? ` (${report.cause ?? report.detail})` : ""}`;
    }
    case "timer":
      return `time is up: ${String(event["name"])}`;
    default:
      return `${event.type} ${String(event["name"] ?? "")}`.trim();
  }
}

/** What was asked for, in words; empty for what people need not see. */
function effectInWords(effect: Decision["effects"][number]): string {
  switch (effect.do) {
    case "hook":
      return `run ${String(effect["hook"])}${effect["force"] ? " force" : ""}`;
    case "virtualIp":
      return effect["up"] ? "virtual IP up" : "virtual IP down";
    case "persist":
      return `record ${(effect["record"] as { role: string; consistency: string }).role}, ${(effect["record"] as { consistency: string }).consistency}`;
    case "timer":
    case "publish":
    case "answer":
      return "";
    default:
      return effect.do;
  }
}

/** The story of a module, one line a decision, oldest first. `until` (ISO time) ends it; the last `lines` are told. */
export function explainDecisions(entries: readonly unknown[], until: string | null, lines: number): string {
  const told = (entries as Decision[])
    .filter((entry) => until === null || entry.time <= until)
    .filter((entry) => entry.event.type !== "done" || entry.effects.length > 0)
    .slice(-lines);
  let before: number | null = null;
  return told
    .map((entry) => {
      const at = Date.parse(entry.time);
      const step = before === null ? "" : ` +${at - before} ms`;
      before = at;
      const effects = entry.effects.map(effectInWords).filter(Boolean).join(", then ");
      return `${entry.time}${step}  ${entry.node}  ${entry.state} ${entry.readiness}: ${eventInWords(entry.event)}${entry.why ? ` - ${entry.why}` : ""}${effects ? ` -> ${effects}` : ""}`;
    })
    .join("\n");
}
