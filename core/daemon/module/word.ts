/**
 * What is said of a module on this node: to its peers in every heartbeat, and to people in `status`.
 */
import type { ModuleView } from "../../cluster/cluster.ts";
import type { ModuleState } from "../../failover/types.ts";
import type { ReintegrationProgress } from "../../filesystem/control.ts";
import type { NodeStatus } from "../engine.ts";
import type { ReplicationReports } from "../replication/reports.ts";
import type { ModuleMaintenance } from "./maintenance.ts";
import type { ModulePeers } from "./peers.ts";
import type { ModuleResources } from "./resources.ts";
import type { Supervisor } from "./supervisor.ts";

/** Why a module is kept from working with its peer, for people. */
export interface Hold {
  reason: string;
  remedy?: string;
}

/** What it is made of. */
export interface WordParts {
  supervisor: Supervisor;
  maintenance: ModuleMaintenance;
  resources: ModuleResources;
  replication: ReplicationReports;
  peers: ModulePeers;
  /** The other node of a mirror. */
  peer: string | null;
  isMirror: boolean;
  /** Does the module replicate anything? */
  replicates(): boolean;
  /** What it does not start without, and does not have. */
  lack(): Hold | null;
  /** Why its farm is open though a checker is down, or "". */
  stillOpen(): string;
}

/** A note for the peers is no longer than this. */
const LONGEST_REASON = 300;

/** See the top of the file. */
export class ModuleWord {
  /** Why this node's module may not go on with its peer as it is; shown in its status. */
  hold: Hold | null = null;

  constructor(private readonly parts: WordParts) {}

  /** For the peers. */
  view(): ModuleView {
    const { supervisor, resources, replication, maintenance } = this.parts;
    const { reintegration, heldUntil } = replication;
    const { reason, since, remedy } = this.#explained();
    return {
      ...supervisor.view(resources.states),
      ...(maintenance.word === undefined ? {} : { maintenance: maintenance.word }),
      ...(heldUntil === null ? {} : { heldUntil }),
      note: {
        reason: reason.slice(0, LONGEST_REASON),
        since,
        ...(remedy ? { remedy } : {}),
        ...(reintegration ? { reintegration } : {}),
      },
    };
  }

  /** The state, and what keeps the module from going on. */
  #explained(): ReturnType<Supervisor["status"]> {
    const status = this.parts.supervisor.status();
    const more = this.parts.stillOpen() || this.#keptOut(status.state);
    const own = more === "" ? status : { ...status, reason: `${status.reason}; ${more}` };
    const hold = this.hold ?? this.parts.lack();
    if (hold === null) return own;
    const { reason, remedy } = hold;
    const isAtRest = own.state === "STOP" || own.state === "WAIT";
    return {
      ...own,
      reason: isAtRest ? reason : `${own.reason}; ${reason}`,
      ...(remedy === undefined ? {} : { remedy }),
    };
  }

  /** Why this secondary, or the other node's, is not let in yet, or "". */
  #keptOut(state: ModuleState): string {
    const { replication, peers, peer } = this.parts;
    if (peer === null) return "";
    const at = (until: number): string =>
      `in again at ${new Date(until).toISOString().slice(11, 19)} UTC, later each time`;
    const { heldUntil } = replication;
    if (state === "ALONE" || state === "PRIM")
      return heldUntil === null ? "" : `${peer} hung, and is let ${at(heldUntil)}`;
    const until = peers.views()?.get(peer)?.heldUntil;
    return state !== "SECOND" || until === undefined
      ? ""
      : `this node hung, and ${peer} lets it ${at(until)}`;
  }

  /** For people. */
  status(): NodeStatus {
    const { resources, replication, replicates, maintenance } = this.parts;
    const own = this.#explained();
    const work = maintenance.current === null ? {} : { maintenance: maintenance.current };
    const mirror = replicates()
      ? { reintegration: own.state === "SECOND" ? this.#copying : replication.reintegration }
      : {};
    return { ...own, ...work, ...mirror, resources: resources.all };
  }

  /** The reintegration under way, whichever end counts it: only the source knows how much there is to do. */
  get #copying(): ReintegrationProgress | null {
    const { replication, peers, peer } = this.parts;
    return replication.reintegration ?? (peer === null ? null : (peers.status(peer).reintegration ?? null));
  }

  /** What a peer last said, or UNKNOWN. */
  peerStatus(peer: string): NodeStatus {
    const told = this.parts.peers.status(peer);
    const status = this.parts.isMirror ? told : { ...told, upToDate: null };
    return status.state === "SECOND" ? { ...status, reintegration: this.#copying } : status;
  }
}
