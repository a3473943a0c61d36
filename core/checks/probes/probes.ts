/** The door of this folder: each kind of subject, and who looks at it. */
import type { Check } from "../module_checks.ts";
import type { Probe } from "../probe.ts";
import { type CheckerOrder, customProbe } from "./custom.ts";
import { diskProbe } from "./disk.ts";
import { httpProbe } from "./http.ts";
import { interfaceProbe, ipProbe } from "./link.ts";
import { moduleProbe, type StatusOf } from "./module.ts";
import { pingProbe } from "./ping.ts";
import { processProbe, type UnitMembers } from "./process.ts";
import { serviceProbe } from "./service.ts";
import { tcpProbe } from "./tcp.ts";

export type { CheckerOrder, StatusOf };

/** What some probes ask of this node. */
export interface ProbeAsks {
  /** This node's name. */
  node: string;
  statusOf: StatusOf;
  /** May another node of the module tell the module's addresses with this MAC address, too? */
  isOfFarm(mac: string): boolean;
  unitMembers: UnitMembers;
  /** How the module's own checker of this name is run for this check. */
  order(check: Check, name: string): ReturnType<CheckerOrder>;
}

/** How `check` looks. `notice`: something happened, look now. */
export function probeOf(check: Check, asks: ProbeAsks, notice: () => void): Probe {
  const { subject } = check;
  switch (subject.type) {
    case "tcp":
      return tcpProbe(subject.address);
    case "http":
      return httpProbe(subject);
    case "process":
      return processProbe(subject, asks.unitMembers, notice);
    case "service":
      return serviceProbe(subject.name, notice);
    case "custom":
      return customProbe(() => asks.order(check, subject.name));
    case "ping":
      return pingProbe(subject.address, check.rhythm.timeout);
    case "interface":
      return interfaceProbe(subject.name, subject.address, notice);
    case "ip":
      return ipProbe(subject.address, asks.isOfFarm, notice);
    case "module":
      return moduleProbe(subject.name, subject.on, asks.node, asks.statusOf);
    case "disk":
      return diskProbe(subject);
  }
}
