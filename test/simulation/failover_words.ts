/** The simulator's story: what befalls a node, and what it is told to do, in words. */
import type { Command, Effect } from "../../core/failover/types.ts";
import type { Fault } from "./failover_faults.ts";

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
    case "releaseLease":
      return "gives its lease back";
    case "fence":
      return "is fenced: application killed, mount aborted";
    default:
      return "";
  }
}

/** As it would be typed. */
export function commandInWords(command: Command): string {
  if (command.name === "prim") return command.force ? "prim --force" : "prim";
  if (command.name === "restart" && command.part !== undefined) return `restart ${command.part}`;
  if (command.name === "second") return command.full ? "second --full" : "second";
  return command.name;
}

/** The network. */
export function weatherInWords({
  loss,
  repeat,
  straggler,
}: {
  loss: number;
  repeat: number;
  straggler: number;
}): string {
  const percent = (part: number) => `${(part * 100).toFixed(0)} %`;
  return `${percent(loss)} of datagrams are lost, ${percent(repeat)} come twice, ${percent(straggler)} late`;
}

/** One line of a schedule, as a person would say it. */
export function faultInWords(fault: Fault): string {
  const name = `n${fault.node + 1}`;
  const at = `${(fault.at / 1000).toFixed(3).padStart(7)} s`;
  return `${at}  ${faultInShort(fault, name)}`;
}

/** Without its time. */
export function faultInShort(fault: Fault, name: string): string {
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  switch (fault.do) {
    case "crash":
      return `${name} loses power for ${seconds(fault.off)}`;
    case "crash both":
      return `${name} loses power, the other ${seconds(fault.apart)} later; they are back after ${seconds(fault.off)} and ${seconds(fault.otherOff)}`;
    case "crash at an effect":
      return `${name} loses power after ${fault.effects} more effects, for ${seconds(fault.off)}`;
    case "command":
      return `${name}: ${fault.by} says ${commandInWords(fault.command)}`;
    case "daemon killed":
      return `the daemon of ${name} is killed, ${fault.adopts ? "and back in time" : "and not back in time"}`;
    case "daemon stopped":
      return `the daemon of ${name} is stopped for ${seconds(fault.ms)}`;
    case "stun":
      return `${name} stands still for ${seconds(fault.ms)}${fault.seen ? "" : ", and its clocks with it"}`;
    case "pace":
      return `the clock of ${name} goes ${((fault.rate - 1) * 100).toFixed(1)} % fast`;
    case "wall clock":
      return `the wall clock of ${name} jumps by ${(fault.by / 3_600_000).toFixed(1)} h`;
    case "cut":
      return `cut for ${seconds(fault.ms)}: ${fault.lans.join(", ")} from ${fault.from.map((index) => `n${index + 1}`).join(" and ")}`;
    case "flap":
      return `the network comes and goes ${fault.times.length} times`;
    case "weather":
      return weatherInWords(fault);
    case "hook fails":
      return `${fault.hook} fails on ${name} for ${seconds(fault.ms)}`;
    case "hooks are slow":
      return `hooks take ${fault.factor.toFixed(0)} times as long on ${name} for ${seconds(fault.ms)}`;
    case "maintenance":
      return `maintenance is on for ${seconds(fault.ms)}, as said on ${name}`;
    case "process dies":
      return `the replication process of ${name} dies`;
    case "disk fails":
      return `the disk of ${name} fails once: ${fault.detail}`;
    case "disk slow":
      return `the disk of ${name} is ${fault.factor.toFixed(0)} times as slow for ${seconds(fault.ms)}`;
    case "record unwritable":
      return `the record of ${name} cannot be written for ${seconds(fault.ms)}`;
    case "fenced":
      return `the guardian of ${name} fences`;
    case "witness begins anew":
      return `the witness begins anew${fault.all ? ", and has lost its records" : ""}, in ${seconds(fault.ms)}`;
    case "witness stands still":
      return `the witness stands still for ${seconds(fault.ms)}${fault.withClock ? ", and its clock with it" : ""}`;
    case "witness is slow":
      return `the witness is slow for ${seconds(fault.ms)}${fault.repeat > 0 ? ", and requests come twice" : ""}`;
    case "witness answers late":
      return `each answer of the witness takes ${fault.by.toFixed(0)} ms longer for ${seconds(fault.ms)}`;
    case "witness has another pace":
      return `the clock of the witness goes ${((fault.rate - 1) * 100).toFixed(1)} % fast`;
    case "witness is cut":
      return `${fault.both ? "both nodes are" : `${name} is`} cut from the witness (${[fault.there ? "there" : "", fault.back ? "back" : ""].filter(Boolean).join(" and ")}) for ${seconds(fault.ms)}`;
    case "lag":
      return `what ${name} sends its peer takes ${fault.by.toFixed(0)} ms longer for ${seconds(fault.ms)}`;
    case "isolated":
      return `${name} is cut from everybody for ${seconds(fault.ms)}`;
    case "resource":
      return `${fault.name} is down on ${fault.both ? "both nodes" : name} for ${seconds(fault.ms)}`;
  }
}
