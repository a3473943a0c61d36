/**
 * A small honest model of what the data path promises the failover core: sequence of sync operations, generations, held replies,
 * reintegration with its three durable steps. It knows nothing of roles beyond what effects tell it.
 */
import { relation } from "../../core/failover/generations.ts";
import type { Generations, ReplicationReport } from "../../core/failover/types.ts";
import type { SimNode } from "./failover_node.ts";
import type { World } from "./failover_world.ts";

/** How long the source waits for a peer's word, ms. */
const PATIENCE = 1200;
/** How long it waits for the word that one operation is on the peer's disk: `replicate.timeout`. */
const ACKNOWLEDGE_LIMIT = 5000;
const DRAIN_LIMIT = 5000;

interface Pending {
  op: number;
  /** When it was sent. */
  since: number;
  local: boolean;
  remote: boolean;
  acked: () => void;
}

/** One connection. Either side may think it open while the other has dropped it. */
export interface Session {
  source: DataPath;
  target: DataPath;
  phase: "copying" | "ending" | "sync";
  sourceOpen: boolean;
  targetOpen: boolean;
  lastMoved: number;
  /** What is under way, per direction, in the order in which it arrives. */
  deliver: [Delivery[], Delivery[]];
}

/** Something on its way: when it arrives where the network carries it, and what it does then. */
export interface Delivery {
  at: number;
  run: () => void;
}

/** The replication process of one node. */
export class DataPath {
  role: "idle" | "serving" | "following" = "idle";
  alone = false;
  generations: Generations = { current: "", parted: null, history: [] };
  session: Session | null = null;
  inSync = false;
  private pending: Pending[] = [];
  private full = false;
  private sacrifice = false;
  private reported: ReplicationReport | null = null;
  private onProceed: (() => void) | null = null;
  /** The process dies while it drains: who waits for that is told. */
  private onGone: (() => void) | null = null;
  /** Promised not to acknowledge alone any more: the target may already count as whole. */
  private bound = false;
  /** Takes over: dials nobody any more. */
  private sealed = false;
  /** Grows whenever the process begins anew: what was under way is forgotten. */
  private life = 0;

  constructor(
    readonly node: SimNode,
    private readonly world: World,
  ) {}

  private after(ms: number, run: () => void): void {
    const life = this.life;
    this.node.after("process", ms, () => {
      if (life === this.life) run();
    });
  }

  private report(report: ReplicationReport): void {
    this.reported = report;
    this.node.report(report);
  }

  /** The daemon is back: what waits for its word is said again. */
  reportAgain(): void {
    if (this.reported !== null && (this.onProceed !== null || this.reported.kind === "peerGone"))
      this.node.report(this.reported);
  }

  serve(alone: boolean, generations: Generations): void {
    if (this.role === "serving") {
      if (alone) this.goAlone(generations);
      return;
    }
    this.reset();
    this.role = "serving";
    this.alone = alone;
    this.bound = false;
    this.generations = generations;
  }

  follow(generations: Generations, full: boolean, sacrifice: boolean): void {
    this.reset();
    this.role = "following";
    this.generations = generations;
    this.full = full;
    this.sacrifice = sacrifice;
  }

  goAlone(generations: Generations): void {
    if (this.role !== "serving") return;
    this.drop();
    this.alone = true;
    this.bound = false;
    this.generations = generations;
    this.reported = null;
    this.flush();
  }

  seal(): void {
    if (this.world.isBroken("does not seal the old primary's stream")) return;
    this.sealed = true;
    this.drop();
  }

  proceed(after: "reintegrating" | "caughtUp"): void {
    if (this.reported?.kind !== after) return;
    const run = this.onProceed;
    this.onProceed = null;
    run?.();
  }

  /** Ends cleanly: a source drains first. `done` is told what went wrong; "": nothing. */
  stop(done: (trouble: string) => void): void {
    if (this.role !== "serving") {
      this.reset();
      done("");
      return;
    }
    const began = this.world.clock.now;
    const end = (trouble: string): void => {
      this.onGone = null;
      if (trouble === "") this.reset();
      done(trouble);
    };
    const poll = () => {
      if (this.pending.length === 0) end("");
      else if (this.world.clock.now - began > DRAIN_LIMIT) end("not drained in time");
      else this.after(20, poll);
    };
    this.onGone = () => end("the replication process is gone");
    poll();
  }

  /** Killed, fenced, or the power is cut. */
  reset(): void {
    this.drop();
    this.life++;
    this.role = "idle";
    this.sealed = false;
    this.alone = false;
    this.pending = [];
    this.onProceed = null;
    this.reported = null;
    this.onGone?.();
  }

  private drop(): void {
    const session = this.session;
    this.session = null;
    this.inSync = false;
    this.onProceed = null;
    if (session === null) return;
    const other = session.source === this ? session.target : session.source;
    if (session.source === this) session.sourceOpen = false;
    else session.targetOpen = false;
    // A closed connection is noticed at once where the network carries the news, else by time.
    if (this.node.up && this.world.network.isOpen("repl", this.node.index))
      other.after(3, () => {
        if (other.session === session) other.lost("the connection was closed");
      });
  }

  private lost(cause: string): void {
    if (this.session === null) return;
    const held = !this.alone || this.bound;
    this.drop();
    // A target tells it sometimes; the core must not depend on it.
    if (this.role === "serving") this.report({ kind: "peerGone", cause, held });
    else if (this.world.chance.is(0.5)) this.report({ kind: "peerGone", cause });
  }

  /** Called often: dials, notices silence. */
  poll(): void {
    const { now } = this.world.clock;
    const session = this.session;
    if (session !== null) {
      const both = session.sourceOpen && session.targetOpen;
      if (both && this.world.network.isRoundTrip("repl") && this.peerAwake()) session.lastMoved = now;
      if (this.isOverdue(session)) this.lost("no acknowledgement in time");
      else if (now - session.lastMoved > PATIENCE) this.lost("no answer in time");
      return;
    }
    if (this.role === "following" && !this.sealed) this.dial();
  }

  /** Its disk hangs, and its kernel goes on answering (trap 9). */
  private isOverdue(session: Session): boolean {
    if (session.source !== this || session.phase === "copying") return false;
    const oldest = this.pending.find(({ remote }) => !remote);
    return oldest !== undefined && this.world.clock.now - oldest.since > ACKNOWLEDGE_LIMIT;
  }

  private peerAwake(): boolean {
    const peer = this.node.peer();
    return peer.up && !peer.isFrozen("process") && !this.node.isFrozen("process");
  }

  private dial(): void {
    const source = this.node.peer().data;
    if (!this.world.network.isRoundTrip("repl") || !this.peerAwake()) return;
    if (source.role !== "serving" || source.session !== null || this.onProceed !== null) return;
    const related = relation(this.generations, source.generations);
    const session: Session = {
      source,
      target: this,
      phase: "copying",
      sourceOpen: true,
      targetOpen: true,
      lastMoved: this.world.clock.now,
      deliver: [[], []],
    };
    const isBlank = this.generations.current === "" && source.generations.current !== "";
    const isKin = related === "equal" || related === "theirsNewer" || isBlank;
    const mayCopy = this.full || this.sacrifice || isKin;
    if (!mayCopy) {
      if (this.reported?.kind === "refused") return;
      const word = related === "split-brain" ? "split-brain" : "unrelated";
      this.report({ kind: "refused", relation: word, detail: `the copies are ${related}` });
      return;
    }
    this.session = session;
    source.session = session;
    if (related === "equal" && !source.alone && this.sameAs(source) && !this.full) this.joinEqual(session);
    else this.beginCopy(session);
  }

  private sameAs(source: DataPath): boolean {
    const mine = this.node.disk.copy;
    const theirs = source.node.disk.copy;
    if (mine.mixed || theirs.mixed || mine.touched) return false;
    const waiting = new Set(source.pending.map(({ op }) => op));
    for (const op of theirs.ops) if (!mine.ops.has(op) && !waiting.has(op)) return false;
    for (const op of mine.ops) if (!theirs.ops.has(op)) return false;
    return true;
  }

  private joinEqual(session: Session): void {
    session.phase = "sync";
    this.inSync = true;
    session.source.inSync = true;
    session.source.reported = null;
    this.report({ kind: "inSync" });
    session.source.report({ kind: "inSync" });
    for (const pending of session.source.pending) session.source.send(session, pending);
  }

  private beginCopy(session: Session): void {
    const { source } = session;
    if (this.sacrifice) this.world.check.keepsAside(this.node, source.node);
    this.sacrifice = false;
    // A copy that is worth nothing is copied whole; one whose full copy was interrupted may go on where it was.
    const full = this.full || (this.generations.current === "" && !this.node.disk.copy.mixed);
    source.report({ kind: "reintegrating", side: "source", full });
    this.report({ kind: "reintegrating", side: "target", full });
    this.onProceed = () => {
      const isApart = relation(this.generations, source.generations) === "split-brain";
      this.world.check.overwritten(this.node, source.node, full, isApart);
      const copy = this.node.disk.copy;
      copy.mixed = true;
      for (const op of copy.ops) if (!source.node.disk.copy.ops.has(op)) copy.ops.delete(op);
      this.after(this.world.chance.between(30, 1500), () => this.endCopy(session));
    };
  }

  private endCopy(session: Session): void {
    if (this.session !== session) return;
    const { source } = session;
    if (source.session !== session || !this.world.network.isRoundTrip("repl") || !this.peerAwake()) {
      this.after(50, () => this.endCopy(session));
      return;
    }
    session.phase = "ending";
    source.bound = true;
    const ops = new Set(source.node.disk.copy.ops);
    for (const pending of source.pending) {
      ops.add(pending.op);
      pending.remote = true;
    }
    this.node.disk.copy = { ops, mixed: source.node.disk.copy.mixed, touched: false };
    this.report({ kind: "caughtUp", side: "target", generations: source.generations });
    this.onProceed = () => {
      this.generations = { ...source.generations, parted: null };
      this.full = false;
      this.world.carry(session, "target", () => source.targetCaughtUp(session));
    };
  }

  private targetCaughtUp(session: Session): void {
    if (this.session !== session) return;
    this.report({ kind: "caughtUp", side: "source", generations: this.generations });
    this.onProceed = () => {
      session.phase = "sync";
      this.alone = false;
      this.generations = { ...this.generations, parted: null };
      this.inSync = true;
      this.reported = null;
      this.report({ kind: "inSync" });
      this.world.carry(session, "source", () => session.target.sourceProceeded(session));
      this.flush();
    };
  }

  private sourceProceeded(session: Session): void {
    if (this.session !== session) return;
    this.inSync = true;
    this.report({ kind: "inSync" });
  }

  /** The application's write and fsync. `acked` when fsync returned. */
  write(op: number, acked: () => void): boolean {
    if (this.role !== "serving") return false;
    const pending: Pending = { op, since: this.world.clock.now, local: false, remote: false, acked };
    this.pending.push(pending);
    const session = this.session;
    if (session !== null && session.phase !== "copying") this.send(session, pending);
    this.after(this.world.chance.between(1, 6) * this.node.slowness, () => {
      this.node.disk.copy.ops.add(op);
      pending.local = true;
      this.flush();
    });
    return true;
  }

  private send(session: Session, pending: Pending): void {
    pending.since = this.world.clock.now;
    this.world.carry(session, "source", () => {
      const { target } = session;
      if (target.session !== session) return;
      target.after(this.world.chance.between(1, 6) * target.node.slowness, () => {
        // Sealed meanwhile: neither applied nor acknowledged.
        if (target.session !== session) return;
        this.world.check.appliedFor(this.node, target.node);
        target.node.disk.copy.ops.add(pending.op);
        this.world.carry(session, "target", () => {
          if (this.session !== session) return;
          pending.remote = true;
          this.flush();
        });
      });
    });
  }

  private flush(): void {
    const careless = this.world.isBroken("acknowledges without the peer's word");
    const mayAlone = (this.alone && !this.bound) || careless;
    const kept: Pending[] = [];
    const done: Pending[] = [];
    for (const pending of this.pending)
      (pending.local && (pending.remote || mayAlone) ? done : kept).push(pending);
    this.pending = kept;
    for (const pending of done) {
      this.world.check.acknowledged(this.node, pending.op, pending.remote);
      pending.acked();
    }
  }
}
