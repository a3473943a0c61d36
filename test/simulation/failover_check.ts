/** What must hold at every step: G1, G3, G4 as far as it goes without a witness, G5. */
import type { DurableRecord } from "../../core/failover/types.ts";
import { DRIFT } from "./failover_faults.ts";
import { INTERVAL, TIMEOUT } from "./failover_heartbeats.ts";
import type { SimNode } from "./failover_node.ts";
import type { World } from "./failover_world.ts";

/** A guarantee was broken. */
export class Violation extends Error {}

/** No node goes alone before so long a silence, ms of true time: its clock may be fast. */
const PARTED_AFTER = TIMEOUT / (1 + DRIFT);
/** A guardian that stands still for longer fences after the other node has gone on, ms: it does so 0.72 of the timeout after the daemon's last sign. */
const LATE_FENCE = PARTED_AFTER - 0.72 * TIMEOUT * (1 + DRIFT);

interface Acknowledged {
  op: number;
  node: string;
  /** Null: by both nodes. Else the generation in which it was acknowledged alone. */
  alone: string | null;
}

/** The judge of one schedule. */
export class Check {
  readonly acknowledged_: Acknowledged[] = [];
  private readonly saved = new Set<number>();
  private readonly given = new Set<number>();
  /** Generations begun alone while the other node was alive too: without a witness both may run. */
  private readonly parted = new Set<string>();
  /** A person overrode the rules: data may be lost by command from here on. */
  forced = false;
  served = 0;

  constructor(private readonly world: World) {}

  /**
   * Two may run, each by its own right: for about as long as it takes to go alone, the network carried nothing, or a hypervisor stopped a machine,
   * which cannot know. One that stood still and knows is fenced before it does anything.
   */
  private isTorn(): boolean {
    const { clock, network, nodes } = this.world;
    const stood = nodes.some((node) => {
      const { from, to, silent, seen } = node.stunned;
      const until = node.isFrozen("daemon") ? clock.now : to;
      // The last heartbeat came at most an interval before its daemon was silent.
      const isSilent = until - silent > PARTED_AFTER - INTERVAL;
      return !seen && to > clock.now - TIMEOUT && to - from > LATE_FENCE && isSilent;
    });
    return stood || network.silence() > PARTED_AFTER;
  }

  private fail(guarantee: string, text: string): never {
    throw new Violation(`${guarantee}: ${text} (at ${this.world.clock.now.toFixed(0)} ms)`);
  }

  /** A node starts to write alone. */
  wentAlone(node: SimNode): void {
    const { record } = node.disk;
    const generation = record.generations.current;
    if (record.role !== "ALONE")
      this.fail("G3", `${node.name} goes on alone, but its durable role is ${record.role}`);
    if (generation !== node.data.generations.current)
      this.fail("G3", `${node.name} writes alone in a generation that is not durable`);
    const peer = node.peer();
    if (record.peerOutdatedIn === generation) {
      const other = peer.disk.record;
      const knows =
        other.consistency !== "uptodate" ||
        other.generations.current === generation ||
        other.generations.history.includes(generation);
      if (!knows && !this.forced)
        this.fail("G3", `${node.name} counts ${peer.name} as outdated, which ${peer.name} did not record`);
    } else if (this.world.isWitnessed && !this.forced) {
      const sole = this.world.witness.soles.get(record.witness ?? "");
      if (sole !== node.name)
        this.fail(
          "G4",
          `${node.name} goes on alone, and the witness never recorded that in ${record.witness}`,
        );
    }
  }

  /** A node decides to go on alone. With both nodes alive and a torn network, each may; begun anew, its line goes on by the same right. */
  decidesAlone(node: SimNode, { generations }: DurableRecord): void {
    if (this.world.isWitnessed) return;
    const before = node.disk.record;
    const goesOn = before.role === "ALONE" && before.generations.parted === generations.parted;
    if ((node.peer().up && this.isTorn()) || (goesOn && this.parted.has(before.generations.current)))
      this.parted.add(generations.current);
  }

  /** The loser of a split brain keeps its own writes aside, before its copy is touched. */
  keepsAside(target: SimNode, source: SimNode): void {
    for (const { op } of this.acknowledged_)
      if (target.disk.copy.ops.has(op) && !source.node_has(op)) this.saved.add(op);
  }

  acknowledged(node: SimNode, op: number, byBoth: boolean): void {
    if (!byBoth) {
      const { record } = node.disk;
      // A generation of the same parting may have taken the place of the one that the data path still has.
      if (record.role !== "ALONE" || record.generations.parted !== node.data.generations.parted)
        this.fail("G3", `${node.name} acknowledges ${op} alone; durable is ${record.role}`);
    }
    this.acknowledged_.push({ op, node: node.name, alone: byBoth ? null : node.data.generations.current });
  }

  /** A node mounts its copy and serves it. */
  serves(node: SimNode): void {
    this.served++;
    const { copy } = node.disk;
    if (this.forced) return;
    // It went alone itself when the nodes were parted and both alive: it goes on in its own line, and the loser's writes are kept (G5).
    const ownRight = this.parted.has(node.disk.record.generations.current);
    if (copy.mixed) this.fail("G3", `${node.name} serves a copy whose reintegration was interrupted`);
    // It mounts what it was about to when its clocks were stopped, and acknowledges nothing without the other.
    if (this.isZombie(node) && node.disk.record.role === "PRIM") return;
    for (const { op, alone, node: by } of this.acknowledged_) {
      if (copy.ops.has(op) || this.given.has(op)) continue;
      if (alone !== null && (this.saved.has(op) || this.parted.has(alone) || ownRight)) continue;
      this.fail(
        alone === null ? "G1" : "G3",
        `${node.name} serves without operation ${op}, acknowledged by ${alone === null ? "both" : `${by} alone in ${alone}`}`,
      );
    }
  }

  /** G4(b): the application starts here, or the virtual IP comes up, or a machine that stood still with them goes on. */
  runs(node: SimNode): void {
    const peer = node.peer();
    if (this.forced || !this.world.isMirror || !(peer.runs && node.up)) return;
    // Without a witness, each of two parted nodes may run; so may one that a hypervisor stopped, until its first check.
    const byRight = [node, peer].some(({ disk }) => this.parted.has(disk.record.generations.current));
    if (byRight && !this.world.waitsInIsolation && !this.world.cutsPower) return;
    const mayBeZombie = (byRight || this.world.isWitnessed) && !this.world.cutsPower;
    if (mayBeZombie && (this.isZombie(peer) || this.isZombie(node))) return;
    const what = peer.application ? "the application runs" : "the virtual IP is up";
    const excuse = this.world.isWitnessed || this.world.cutsPower ? "" : "; no network was cut for so long";
    this.fail("G4", `${what} on ${peer.name}, and ${node.name} starts${excuse}`);
  }

  /** A hypervisor stopped it, and its clocks with it, until just now: it cannot know. */
  private isZombie({ stunned }: SimNode): boolean {
    return !stunned.seen && stunned.to > this.world.clock.now - TIMEOUT;
  }

  /** A machine that stood still goes on: what it may not do any more must have ended by now. */
  wakes(node: SimNode): void {
    if (node.runs) this.runs(node);
  }

  /** G4(a): the peer's word counts only from one that follows in the same generation, and has not gone its own way. */
  appliedFor(source: SimNode, target: SimNode): void {
    const { record } = target.disk;
    const line = source.disk.record.generations;
    if (record.role === "ALONE" && record.generations.current !== line.current && !this.forced)
      this.fail(
        "G4",
        `${target.name} is durably ALONE in ${record.generations.current}, and still gives ${source.name} its word in ${line.current}`,
      );
  }

  /** A copy is about to be changed to become that of the source. `isApart`: both nodes had written alone, which no command makes good. */
  overwritten(target: SimNode, source: SimNode, full: boolean, isApart: boolean): void {
    if (target.disk.record.consistency !== "inconsistent")
      this.fail("G3", `${target.name} is overwritten, and "inconsistent" is not durable`);
    const mine = target.disk.copy.ops;
    for (const { op, alone } of this.acknowledged_) {
      if (!mine.has(op) || source.node_has(op)) continue;
      if (full && target.commandedFull && !isApart) this.given.add(op);
      else if (!this.saved.has(op) && !this.given.has(op) && !this.forced)
        this.fail(
          alone === null ? "G1" : "G5",
          `${target.name} is overwritten by ${source.name} and loses operation ${op}, which was not kept aside`,
        );
    }
  }
}
