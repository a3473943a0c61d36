/**
 * What would have prevented an incident, or made it shorter: one sentence for each cause that is found in it. Pure.
 *
 * It says what is known, and no more: why a machine lost its power is not in any journal.
 */
import { formatDuration } from "../../modules/units.ts";
import type { Check } from "../checks/module_checks.ts";
import type { Incident } from "./incidents.ts";
import type { Moment } from "./moments.ts";

/** What must be known of a module for that. */
export interface Circumstances {
  module: string;
  kind: string;
  /** The networks that carry its heartbeats. */
  lans: readonly string[];
  timeoutMs: number;
  onIsolation: string;
  /** A witness records who goes on alone. Left out: as if there were none. */
  isWitnessed?: boolean;
  maxLoop: number;
  checks: readonly Pick<Check, "resource" | "subject" | "rhythm" | "action">[];
  /** Nodes whose side is missing. */
  missing: readonly string[];
  /** ms since 1970: the daemons that began anew, by node, whether in the incident or after it. */
  boots: Readonly<Record<string, readonly number[]>>;
}

/** The sentences, each once, in the order of the moments. */
export function preventions(incident: Incident, circumstances: Circumstances): string[] {
  const isHeld = incident.moments.some(({ decided }) => decided.includes("maintenance is on"));
  const said = [
    ...(isHeld
      ? [
          `Maintenance was on, so nothing was done by itself: holdfast maintenance ${circumstances.module} off.`,
        ]
      : []),
    ...incident.moments.flatMap((moment) => ofMoment(moment, incident, circumstances)),
  ];
  const isAsked = said.length === 0 && incident.moments.some(isByPerson);
  return isAsked ? ["It was asked for by a person: nothing failed."] : [...new Set(said)];
}

function ofMoment(moment: Moment, incident: Incident, about: Circumstances): string[] {
  const failed = moment.ran.filter(({ trouble }) => trouble !== "").map((ran) => ofFailure(ran, about));
  switch (moment.cause) {
    case "lost":
      return [...ofSilence(moment, incident, about), ...ofNoWitness(moment), ...ofNoRight(moment), ...failed];
    case "rule":
      return [...ofRule(moment, about), ...failed];
    case "fenced":
      return [
        `The daemon of ${moment.node} did not run for too long, so its application was stopped before another node could start it. More processor time and memory for that machine (a snapshot or a live migration of a virtual machine stops it, too), or more patience: heartbeat: { timeout: ${formatDuration(about.timeoutMs * 3)} }.`,
        ...failed,
      ];
    case "replication":
      return [...ofReplication(moment, incident), ...failed];
    case "warning":
      return ofFullDisk(moment.saw, moment.node);
    case "split":
      return [ofSplit(about), ...failed];
    default:
      return [...ofNoRight(moment), ...failed];
  }
}

function isByPerson({ cause, saw }: Moment): boolean {
  return cause === "command" && / holdfast \w+/.test(` ${saw}`);
}

function ofSilence(moment: Moment, incident: Incident, about: Circumstances): string[] {
  const { node, lost, at } = moment;
  const mutual = incident.moments.some(
    (other) => other.cause === "lost" && other.node === lost && other.lost === node,
  );
  const gone =
    lost !== undefined &&
    (about.missing.includes(lost) || about.boots[lost]?.some((boot) => boot >= at - about.timeoutMs))
      ? lost
      : undefined;
  if (mutual) return ofCut(about);
  const noticed = `It was noticed after ${formatDuration(about.timeoutMs)} of silence (heartbeat.timeout).`;
  if (gone === undefined) return [`Why ${lost ?? "the other node"} was silent is not known. ${noticed}`];
  const sign = about.missing.includes(gone)
    ? `${gone} does not answer now either`
    : `the daemon of ${gone} began anew afterwards`;
  return [
    `${gone} crashed, lost its power or its network, or its daemon was ended: ${sign}. Nothing on ${node} could have prevented that; on ${gone}, journalctl -b -1 and last -x tell what came before. ${noticed}`,
  ];
}

function ofNoWitness({ decided, node }: Moment): string[] {
  return decided.includes("the witness does not answer")
    ? [
        `The witness did not answer ${node}, which else would have gone on: holdfast cluster witness show tells why. Let it fail neither with a node nor with the network between them.`,
      ]
    : [];
}

/** The word of one of the two would have been enough. */
function ofNoRight({ decided, node }: Moment): string[] {
  return /neither \S+ nor the witness vouches/.test(decided)
    ? [
        `Neither its peer nor the witness vouched for ${node} in time, so it stopped. Where the witness did not answer (holdfast cluster witness show), let it fail neither with a node nor with the network between them.`,
      ]
    : [];
}

function ofCut({ lans, kind, onIsolation, isWitnessed }: Circumstances): string[] {
  const way = "Both nodes ran, and did not hear each other: the network between them was cut.";
  const second =
    lans.length < 2
      ? ` A second network would have carried the heartbeats (cluster.yaml: two addresses for each node).`
      : ` All of ${lans.join(", ")} were cut at once: do they share a switch, or a cable?`;
  if (kind === "mirror" && isWitnessed) return [`${way}${second} The witness let one of them go on.`];
  if (kind !== "mirror" || onIsolation === "wait") return [`${way}${second}`];
  return [
    `${way}${second} A recording witness, or onIsolation: wait, keeps a cut network from making both nodes primary.`,
  ];
}

function ofSplit({ module, isWitnessed }: Circumstances): string {
  const way = isWitnessed
    ? "The witness lets one of two go on: the other was started by a person (prim --force)."
    : "A recording witness, or onIsolation: wait, keeps that from happening.";
  return `Both nodes had run alone, each on its own copy, since they did not hear each other. ${way} What the node that gave way had written is there in VAR/saved/${module}, with report.json.`;
}

function ofRule(moment: Moment, about: Circumstances): string[] {
  // By its whole name: a dash is a part of it, and what stands behind "remote." is another node's.
  const check = about.checks.find(({ resource }) =>
    new RegExp(`(?<![\\w.-])${escaped(resource)}(?![\\w-])`).test(moment.decided),
  );
  const again = /maxLoop/.test(moment.decided)
    ? [
        `It came ${about.maxLoop + 1} times within maxLoop's interval, so the module was stopped: what is behind it must be mended first, then: holdfast start ${about.module}.`,
      ]
    : [];
  if (check === undefined)
    return [
      ...again,
      `The rule ${moment.rule} is written in module.yaml: another condition there, or holdfast maintenance ${about.module} on while people work on it.`,
    ];
  return [...again, ofCheck(check, about)];
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

function ofCheck(
  { resource, subject, rhythm }: Circumstances["checks"][number],
  about: Circumstances,
): string {
  const work = `While people work on it: holdfast maintenance ${about.module} on.`;
  const patience =
    rhythm.failures === 1
      ? `One look that fails is enough as it is: failures: 3 would have waited for three in a row, ${formatDuration(rhythm.interval)} apart.`
      : `${rhythm.failures} looks in a row had failed, ${formatDuration(rhythm.interval)} apart.`;
  switch (subject.type) {
    case "process":
    case "service":
      return `What ${resource} looks at ended by itself, or was ended: its own log says why (journalctl, dmesg for an out-of-memory kill). ${work}`;
    case "disk":
      return `${resource}: room on that disk, or another place for what fills it. ${patience}`;
    case "ping":
    case "interface":
    case "ip":
      return `${resource} is about the network: the cable, the switch, or who else has the address. ${patience}`;
    case "module":
      return `${resource} follows the module ${subject.name}: holdfast explain ${subject.name}.`;
    default:
      return `${resource} did not find what it should. ${patience} If the application was only slow: a longer timeout. ${work}`;
  }
}

function ofFailure({ what, trouble }: Moment["ran"][number], { module }: Circumstances): string {
  if (!/time limit/.test(trouble))
    return `${what} failed: mend it, try it with holdfast module test ${module}, then apply.`;
  const mend = "a longer one (timeouts in module.yaml), or find what it waits for";
  return /^stop_\w+$/.test(what)
    ? `${what} ran over its time limit: where the application hangs, a shorter timeouts.stop comes sooner to the call with force, which ends it; where a clean stop takes that long, ${mend}.`
    : `${what} ran over its time limit: ${mend}.`;
}

function ofReplication({ saw, node, at }: Moment, { moments }: Incident): string[] {
  const peer = /^(\S+) does not acknowledge .* could not apply /s.exec(saw)?.[1];
  const full = ofFullDisk(saw, peer ?? node);
  if (full.length > 0) return full;
  if (/disk failed/.test(saw))
    return [`The disk of ${node} fails: smartctl and dmesg there; replace it before it fails for good.`];
  // Fencing kills it: that is no other failure.
  const isFenced = moments.some(
    (other) => other.node === node && other.at <= at && other.ran.some(({ what }) => /\(fence\)$/.test(what)),
  );
  if (/process died/.test(saw) && !isFenced)
    return [`The replication process of ${node} died: VAR/log/guardian.log there has its last words.`];
  return [];
}

function ofFullDisk(saw: string, node: string): string[] {
  return /ENOSPC|No space left/.test(saw)
    ? [
        `A disk of ${node} is full (df -h, df -i there): the secondary needs the room that the primary needs. When there is room again, it goes on by itself.`,
      ]
    : [];
}
