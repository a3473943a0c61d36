/**
 * The peer that follows PRIM on one connection: how far it is, from its first word until both copies are equal.
 *
 * The order of events: its HELLO and marks, answered by ours; READY once it may be changed; what is dirty is looked for, then copied
 * between live operations; CAUGHT_UP, answered when its disk and record hold everything; IN_SYNC once this node remembers that too.
 */
import type { Generations } from "../../failover/types.ts";
import { isDisagreement } from "../../platform/linux/errno.ts";
import { unionMarks } from "../../replication/marks_recovery.ts";
import { type Frame, FrameType } from "../../replication/operation.ts";
import type { VerifyResult } from "../control.ts";
import type { CopyRecord } from "../copy/copy_record.ts";
import type { MarksStore } from "../copy/marks_store.ts";
import type { Host } from "../host.ts";
import type { KnownPlaces } from "../objects/known_places.ts";
import { BackingTree, type TreeRoot } from "../objects/source_tree.ts";
import {
  encodeHello,
  type FollowerHello,
  otherVersion,
  parseFollowerHello,
  STREAM_VERSION,
  wireGenerations,
} from "../stream/hello.ts";
import type { Link } from "../stream/link.ts";
import type { StreamWriter } from "../stream/stream_buffers.ts";
import { Verification } from "../verify/verify.ts";
import type { DurablePoints } from "./durable_points.ts";
import { FollowerPulse } from "./follower_pulse.ts";
import { answerTo } from "./greeting.ts";
import type { Outbound } from "./outbound.ts";
import { DirtySearch } from "./reintegration/dirty_search.ts";
import { SourceCopy } from "./reintegration/source_copy.ts";

type Phase =
  | "closed"
  | "greeting"
  | "waiting"
  | "locating"
  | "copying"
  | "catchingUp"
  | "confirming"
  | "inSync";

/** What PRIM is, whoever follows it. */
export interface Source {
  readonly host: Host;
  readonly store: MarksStore;
  readonly record: CopyRecord;
  readonly places: KnownPlaces;
  readonly roots: readonly TreeRoot[];
  readonly writer: StreamWriter;
  readonly outbound: Outbound;
  readonly points: DurablePoints;
}

/** See the top of the file. */
export class Follower {
  phase: Phase = "greeting";
  /** This disk did not give all that the peer lacks: to try again at once would not help. */
  lacksSource = false;
  readonly link: Link;
  readonly #source: Source;
  readonly #host: Host;
  readonly #writer: StreamWriter;
  readonly #outbound: Outbound;
  readonly #points: DurablePoints;
  /** This copy's, as long as the connection needs them. */
  readonly #generations: Generations;
  /** What this copy changed while the module was stopped is known: the peer can be told what it lacks. */
  #mayGreet: boolean;
  /** The peer has said all that it has to say before it is answered. */
  #introduced = false;
  #hello: FollowerHello | null = null;
  #search: DirtySearch | null = null;
  #copy: SourceCopy | null = null;
  #verification: Verification | null = null;
  /** Where the reintegration ended: what is younger was sent as it happened. */
  #caughtUpTo = { ticket: 0, sequence: 0 };
  readonly #pulse: FollowerPulse;
  #now: number;

  constructor(source: Source, link: Link, generations: Generations, mayGreet: boolean, now: number) {
    this.#source = source;
    this.#host = source.host;
    this.#writer = source.writer;
    this.#outbound = source.outbound;
    this.#points = source.points;
    this.link = link;
    this.#generations = generations;
    this.#mayGreet = mayGreet;
    this.#now = now;
    this.#pulse = new FollowerPulse(link, source.outbound, source.host.config.timeoutMs, () => {
      this.ping();
    });
  }

  /** It never came as far as to follow. */
  get isNew(): boolean {
    return this.phase === "greeting" || this.phase === "waiting";
  }

  /** It owed an answer for as long as one waits for it. */
  hangs(now: number): boolean {
    return this.#pulse.hangs(now);
  }

  /** Both copies are being compared. */
  get verifies(): boolean {
    return this.#verification !== null;
  }

  /** What was changed while the module was stopped is marked by now. */
  allowGreeting(): void {
    this.#mayGreet = true;
    if (this.#introduced) this.#greet();
  }

  /** What `caughtUp` told, while confirming, is recorded: both copies are equal from here on. */
  proceed(): void {
    this.phase = "inSync";
    this.#source.store.marks.confirmPoint();
    this.#outbound.send(FrameType.IN_SYNC);
    // Both disks hold what came before the catch-up; what came after it has the peer's own word, or waits for it.
    this.#outbound.settlement.settleTo(this.#caughtUpTo.ticket);
    this.#outbound.acknowledged = Math.max(this.#outbound.acknowledged, this.#caughtUpTo.sequence);
    const statistics = this.#copy?.statistics;
    this.#endCopy();
    this.#host.progress(null);
    if (statistics !== undefined) {
      this.#host.finished(
        statistics.bytes,
        statistics.files,
        this.#now - statistics.startedAt,
        statistics.full,
      );
    }
    this.#host.report({ kind: "inSync" });
  }

  /** Compares both copies, once in sync; `done` hears the result, or why there is none. */
  verify(done: (result: VerifyResult | string) => void): void {
    if (this.#verification !== null) {
      done("a verification is under way already");
      return;
    }
    const tree = new BackingTree(this.#source.roots, this.#source.places, this.#source.store.marks);
    const paths = this.#host.config.paths.map(({ path }) => path);
    const { roots } = this.#source;
    this.#verification = new Verification(this.#outbound, this.#writer, tree, roots, paths, (result) => {
      this.#verification = null;
      done(result);
    });
  }

  /** Once a turn. Returns when it wants to be called again. */
  step(now: number): number {
    this.#now = now;
    let wake = this.#pulse.watch(now, this.isNew);
    if (this.phase === "inSync" || this.phase === "copying")
      wake = Math.min(wake, this.#points.schedule(now, this.phase === "inSync"));
    if (this.phase === "closed") return now;
    if (this.#search !== null) wake = Math.min(wake, this.#locate(this.#search, now));
    if (this.phase === "copying" && this.#copy !== null) wake = Math.min(wake, this.#goOnCopying(this.#copy));
    if (this.#verification !== null) wake = Math.min(wake, this.#verification.step(now));
    return Math.min(wake, this.flush(now));
  }

  /** Asks for the peer's word on all that was sent. */
  ping(): void {
    this.#writer.frame.ticket = 0;
    this.#outbound.send(FrameType.PING);
  }

  /** Gives the link what is due. Returns when the rest is. */
  flush(now: number): number {
    const { link } = this;
    if (!link.isOpen) return Number.POSITIVE_INFINITY;
    const due = this.#writer.dueAt(now);
    this.#host.counters.queueBytes = this.#writer.queued;
    if (due > now) return due;
    this.#host.counters.bytesSent += this.#writer.flush(link);
    return Number.POSITIVE_INFINITY;
  }

  #goOnCopying(copy: SourceCopy): number {
    // What a durable point is about is sorted out before the last one.
    const wake = copy.step(this.#now, !this.#points.isUnderWay);
    if (copy.failure !== null) this.#cannotRead(copy.failure);
    else if (copy.isDone) this.#catchUp();
    else if (copy.namesDone && this.#points.tellAll(this.#now)) return this.#now;
    return wake;
  }

  /** The connection is over. */
  end(): void {
    this.phase = "closed";
    this.#endCopy();
    this.#verification?.end("the secondary went away");
  }

  /** Takes what the peer says. */
  take(frame: Frame): void {
    const { link } = this;
    switch (frame.type) {
      case FrameType.HELLO:
        this.#introduce(frame);
        return;
      case FrameType.MARKS:
        if (!unionMarks(this.#source.store.marks, frame.data.copy()))
          link.close("the peer's marks are malformed");
        return;
      case FrameType.MARKS_END:
        this.#introduced = true;
        if (this.#mayGreet) this.#greet();
        return;
      case FrameType.READY:
        this.#ready();
        return;
      case FrameType.ACK:
        this.#outbound.applied = Math.max(this.#outbound.applied, frame.applied);
        // A copy that is being brought up to date is nobody's safety yet.
        if (this.phase !== "copying")
          this.#outbound.acknowledged = Math.max(this.#outbound.acknowledged, frame.inHands);
        this.#pulse.heard();
        return;
      case FrameType.SYNC_DONE:
        this.#pulse.heard();
        if (frame.errno === 0) this.#outbound.settlement.settle(frame.ticket);
        else link.close(`the peer could not sync (errno ${frame.errno})`);
        return;
      case FrameType.DURABLE_DONE:
        this.#points.reached();
        return;
      case FrameType.CAUGHT_UP_DONE:
        if (this.phase === "catchingUp") this.#caughtUp();
        return;
      case FrameType.APPLY_FAILED:
        // The peer's names are not what the marks say: no smaller copy can be trusted to mend that.
        if (isDisagreement(-frame.errno)) {
          this.#source.store.forget();
          this.#host.log(
            "error",
            "the secondary's copy is not what it should be; the next reintegration copies everything",
          );
        }
        link.close(`the peer could not apply an operation: ${new TextDecoder().decode(frame.data.copy())}`);
        return;
      case FrameType.VERIFIED:
        this.#verification?.answered(frame, this.#now);
        return;
      default:
        this.#copy?.take(frame);
    }
  }

  #introduce(frame: Frame): void {
    const other = otherVersion("peer", frame.flags);
    if (other !== null) this.link.close(other);
    else this.#hello = parseFollowerHello(frame.data.copy());
  }

  /** Compares generations and answers the peer's hello. */
  #greet(): void {
    const { link } = this;
    const hello = this.#hello;
    if (hello === null) {
      link.close("the peer sent no hello");
      return;
    }
    const own = {
      generations: this.#generations,
      word: this.#source.record.word,
      directories: this.#source.roots.length,
      marks: this.#source.store.marks,
    };
    const answer = answerTo(hello, own, (level, text) => this.#host.log(level, text));
    this.#points.greet(hello, answer.mode === "full");
    // On disk before the peer gives up what its copy was: it is told nothing that a crash here could take back.
    if (answer.mode === "full") this.#source.store.forget();
    const { frame } = this.#writer;
    frame.flags = STREAM_VERSION;
    frame.data.set(encodeHello(answer));
    this.#outbound.send(FrameType.HELLO);
    if (answer.mode === "refused") {
      this.#writer.flush(link);
      this.#host.report({
        kind: "refused",
        relation: answer.relation === "split-brain" ? "split-brain" : "unrelated",
        detail: answer.detail,
      });
      return;
    }
    this.phase = "waiting";
    this.#host.connectedTo(link.name);
    if (answer.mode !== "equal")
      this.#host.report({ kind: "reintegrating", side: "source", full: answer.mode === "full" });
  }

  /** The peer may change its copy. What is dirty is looked for first. */
  #ready(): void {
    if (this.phase !== "waiting") return;
    this.phase = "locating";
    const { marks } = this.#source.store;
    this.#search = new DirtySearch(new BackingTree(this.#source.roots, this.#source.places, marks), marks);
  }

  /** Returns when to go on; the stream begins when all is found. */
  #locate(search: DirtySearch, now: number): number {
    if (!search.step(now)) return now;
    const failure = search.failure(this.#host.config.paths);
    if (failure !== null) this.#cannotRead(failure);
    else {
      this.#search = null;
      this.#begin(search.tree);
    }
    return now;
  }

  /** The peer cannot have what this disk does not give: what is dirty stays so, and the peer is not up to date. */
  #cannotRead(what: string): void {
    this.#giveUp(what, `this copy cannot be read: ${what}`);
  }

  #giveUp(what: string, why = what): void {
    this.lacksSource = true;
    this.#host.report({ kind: "diskFailed", detail: what });
    this.link.close(why);
  }

  #begin(tree: BackingTree): void {
    this.phase = "copying";
    this.#source.store.marks.peerBack();
    this.#source.roots.forEach(({ id }, index) => {
      this.#outbound.root(id, index);
    });
    this.#outbound.streaming = true;
    this.#points.begin(this.#now);
    const copy = new SourceCopy(
      this.#host,
      this.#outbound,
      this.#source.store.marks,
      tree,
      this.#writer,
      this.#source.roots,
      this.#now,
    );
    this.#copy = copy;
    this.#outbound.reintegration = copy.reintegration;
    this.#outbound.resend = (): void => {
      copy.resend();
    };
  }

  #endCopy(): void {
    this.#search?.tree.close();
    this.#search = null;
    this.#copy?.close();
    this.#copy = null;
  }

  /** Nothing is dirty any more. From here on nothing is acknowledged without the peer's word. */
  #catchUp(): void {
    this.phase = "catchingUp";
    this.#outbound.alone = false;
    this.#outbound.reintegration = null;
    this.#caughtUpTo = { ticket: this.#outbound.settlement.tickets, sequence: this.#outbound.sequence };
    this.#points.catchUp(
      (ticket) => {
        if (this.phase === "catchingUp") this.#tellCaughtUp(ticket);
      },
      (detail) => this.#giveUp(detail),
    );
  }

  #tellCaughtUp(ticket: number): void {
    const { frame } = this.#writer;
    frame.ticket = ticket;
    frame.data.set(
      encodeHello({
        generations: wireGenerations(this.#generations),
        mode: "equal",
        relation: "equal",
        detail: "",
        copy: this.#source.record.word,
      }),
    );
    this.#outbound.send(FrameType.CAUGHT_UP);
  }

  /** The peer's disk and record hold everything: this node remembers that before anything else is built upon it. */
  #caughtUp(): void {
    this.phase = "confirming";
    this.#points.record(
      () => this.#host.report({ kind: "caughtUp", side: "source", generations: this.#generations }),
      (detail) => this.#giveUp(detail),
    );
  }
}
