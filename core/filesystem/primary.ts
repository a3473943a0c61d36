/**
 * PRIM: who is connected, how far they are, and what may be acknowledged.
 *
 * The copy of a peer counts only between its durable word that it holds everything and the moment it falls silent. Between silence and
 * the daemon's word that this node is durably alone, whatever asks for stable storage waits (G3, G4).
 */
import type { Generations } from "../failover/types.ts";
import { F_DUPFD_CLOEXEC } from "../platform/linux/constants.ts";
import { check, errnos } from "../platform/linux/errno.ts";
import { close, fcntl } from "../platform/linux/libc.ts";
import { rejoin } from "../replication/generations.ts";
import { unionMarks } from "../replication/marks_recovery.ts";
import { type Frame, FrameType } from "../replication/operation.ts";
import type { ChangedBehind } from "./changed_behind.ts";
import type { VerifyResult } from "./control.ts";
import type { CopyRecord } from "./copy_record.ts";
import { DurablePoints } from "./durable_points.ts";
import { answerTo } from "./greeting.ts";
import {
  encodeHello,
  type FollowerHello,
  parseFollowerHello,
  STREAM_VERSION,
  wireGenerations,
} from "./hello.ts";
import type { Host } from "./host.ts";
import type { KnownPlaces } from "./known_places.ts";
import type { Link, LinkOwner } from "./link.ts";
import type { MarksStore } from "./marks_store.ts";
import { Outbound } from "./outbound.ts";
import { monotonic } from "./poll_loop.ts";
import { Listener } from "./prim_link.ts";
import { SourceCopy } from "./source_copy.ts";
import { BackingTree, type TreeRoot } from "./source_tree.ts";
import { StreamReader, StreamWriter } from "./stream_buffers.ts";
import { Verification } from "./verify.ts";

const PING_INTERVAL = 1000;
/** Longest time of one turn that looks for what is dirty, ms. */
const SLICE = 4;
/** How long operations that nobody waits for go on without a peer's word, ms: what a crash may cost beyond a lone machine's. */
const GRACE = 1000;

type Phase =
  | "closed"
  | "greeting"
  | "waiting"
  | "locating"
  | "copying"
  | "catchingUp"
  | "confirming"
  | "inSync";

/** The source of a stream. */
export class Primary implements LinkOwner {
  readonly outbound: Outbound;
  readonly places: KnownPlaces;
  phase: Phase = "closed";
  /** Looks for what was changed while the module was stopped: until it is done, no copy can be told what it lacks. */
  behind: ChangedBehind | null = null;
  /** The peer has said all that it has to say before it is answered. */
  #introduced = false;
  readonly #host: Host;
  readonly #store: MarksStore;
  readonly #record: CopyRecord;
  readonly #roots: readonly TreeRoot[];
  readonly #writer = new StreamWriter();
  readonly #listener: Listener;
  #reader = new StreamReader();
  #locating: { tree: BackingTree; steps: Iterator<number> } | null = null;
  #copy: SourceCopy | null = null;
  #verification: Verification | null = null;
  #verified: ((result: VerifyResult | string) => void) | null = null;
  #generations: Generations;
  #link: Link | null = null;
  #hello: FollowerHello | null = null;
  #silentSince = 0;
  #sentAt = 0;
  /** The peer has as long to come at first as it has to come back. */
  #lostAt = monotonic();
  #now = 0;
  readonly #points: DurablePoints;

  /** `alone`: this generation is durably the only one; else the first sync waits for a peer. Throws when the marks cannot be written. */
  constructor(
    host: Host,
    store: MarksStore,
    record: CopyRecord,
    places: KnownPlaces,
    roots: readonly TreeRoot[],
    generations: Generations,
    alone: boolean,
  ) {
    this.#host = host;
    // Our own: a durable point may still run when the mount and its descriptors are gone.
    this.#roots = roots.map((root) => ({
      ...root,
      fd: check(fcntl(root.fd, F_DUPFD_CLOEXEC, 3), "cannot keep a replicated directory open"),
    }));
    this.#generations = generations;
    this.#store = store;
    this.#record = record;
    this.places = places;
    this.outbound = new Outbound(this.#store.marks, this.#writer, places);
    this.outbound.alone = alone;
    for (const { id } of roots) places.set(id, 0, "");
    this.outbound.unreachable = (id): void => {
      this.#link?.close(`object ${id.toString(16)} has no known name: the copies are compared again`);
    };
    this.#listener = new Listener(host, this);
    this.#points = new DurablePoints(host, store, record, this.outbound, this.#writer, places, this.#roots);
  }

  /** This node is durably the only one, in this generation: releases what waited. */
  goAlone(generations: Generations): void {
    this.#generations = generations;
    this.#link?.close("this node goes on alone");
    this.outbound.alone = true;
    this.outbound.held = false;
    this.outbound.settlement.settleAll();
    this.outbound.acknowledged = this.outbound.sequence;
  }

  /** The daemon recorded what `caughtUp` told: both copies are equal from here on. */
  proceed(): void {
    if (this.phase !== "confirming" || this.#link === null) return;
    this.phase = "inSync";
    this.#store.marks.confirmPoint();
    this.outbound.send(FrameType.IN_SYNC);
    // Both disks hold what came before the catch-up; what came after it has the peer's own word, or waits for it.
    this.outbound.settlement.settleTo(this.#caughtUpTo.ticket);
    this.outbound.acknowledged = Math.max(this.outbound.acknowledged, this.#caughtUpTo.sequence);
    this.#generations = rejoin(this.#generations);
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

  /** Compares both copies while they are served; `done` hears the result, or why there is none. */
  verify(done: (result: VerifyResult | string) => void): void {
    if (this.phase !== "inSync") {
      done("there is no secondary in sync to compare with");
      return;
    }
    if (this.#verification !== null) {
      done("a verification is under way already");
      return;
    }
    const tree = new BackingTree(this.#roots, this.places, this.#store.marks);
    const paths = this.#host.config.paths.map(({ path }) => path);
    this.#verified = done;
    this.#verification = new Verification(this.outbound, this.#writer, tree, this.#roots, paths, (result) => {
      this.#endVerification(result);
    });
  }

  #endVerification(result: VerifyResult | string): void {
    this.#verification?.close();
    this.#verification = null;
    const done = this.#verified;
    this.#verified = null;
    done?.(result);
  }

  /** Once a turn. Returns when it wants to be called again. */
  afterTurn(now: number): number {
    this.#now = now;
    let wake = this.#listener.afterTurn(now);
    if (this.behind !== null) wake = Math.min(wake, this.#lookBehind(this.behind, now));
    this.#points.retry();
    this.#store.pump();
    if (this.#store.failure !== null) {
      this.#host.report({ kind: "diskFailed", detail: this.#store.failure });
      this.#store.failure = null;
    }
    if (this.#link === null) {
      this.outbound.held = !this.outbound.alone && now - this.#lostAt > GRACE;
      const waits = !(this.outbound.alone || this.outbound.held);
      return waits ? Math.min(wake, this.#lostAt + GRACE + 1) : wake;
    }
    this.outbound.held = false;
    wake = Math.min(wake, this.#watch(now));
    if (this.phase === "inSync" || this.phase === "copying")
      wake = Math.min(wake, this.#points.schedule(now, this.phase === "inSync"));
    if (this.#link === null) return now;
    if (this.phase === "locating") wake = Math.min(wake, this.#locate(now));
    if (this.phase === "copying" && this.#copy !== null) wake = Math.min(wake, this.#goOnCopying(this.#copy));
    if (this.#verification !== null) wake = Math.min(wake, this.#verification.step(now));
    this.#host.counters.queueBytes = this.#writer.queued;
    this.#host.counters.bytesSent += this.#writer.flush(this.#link);
    return this.#writer.queued > 0 ? wake : wake;
  }

  #goOnCopying(copy: SourceCopy): number {
    // What a durable point is about is sorted out before the last one.
    const wake = copy.step(this.#now, !this.#points.isUnderWay);
    if (copy.isDone) this.#catchUp();
    else if (copy.namesDone && this.#points.tellAll(this.#now)) return this.#now;
    return wake;
  }

  #lookBehind(behind: ChangedBehind, now: number): number {
    // Without a word of a peer the application is held anyway.
    const wake = behind.step(now, !this.outbound.alone);
    if (!behind.isDone) return wake;
    this.behind = null;
    if (this.#introduced && this.#link !== null) this.#greet(this.#link);
    return now;
  }

  /** Gives the link what was queued since. Returns when to call `afterTurn`. */
  flush(): number {
    if (this.#link?.isOpen) this.#host.counters.bytesSent += this.#writer.flush(this.#link);
    // The log must begin to sync what was just marked.
    return this.#store.pump() ? 0 : Number.POSITIVE_INFINITY;
  }

  /** Ends everything. Nothing may be mounted any more. `done` is called when the peer has all, or cannot be told. */
  drain(done: () => void): void {
    this.#whenDrained = done;
    this.#checkDrained();
  }
  #whenDrained: (() => void) | null = null;
  /** Where the reintegration ended: what is younger was sent as it happened. */
  #caughtUpTo = { ticket: 0, sequence: 0 };
  /** This side ends the stream, on purpose: nobody is missing. */
  #closing = false;

  /** Closes connection and listener; the marks are on disk. The log must not be busy in the pool. */
  close(): void {
    this.#closing = true;
    this.behind?.close();
    this.#link?.close("the primary stops");
    this.#listener.close();
    this.#points.close();
    for (const { fd } of this.#roots) close(fd);
    this.#store.flush();
    // The map on disk may still call dirty what was copied since.
    this.#store.rewrite();
  }

  onOpen(link: Link): void {
    if (this.#link !== null) this.#link.close("the peer connected anew");
    this.#link = link;
    this.phase = "greeting";
    this.#introduced = false;
    this.#reader.close();
    this.#reader = new StreamReader();
    this.#writer.clear();
    this.outbound.reset();
    this.#silentSince = 0;
  }

  onFrame(link: Link, plain: Uint8Array): void {
    this.#reader.push(plain);
    this.#host.counters.bytesReceived += plain.length;
    while (!link.isClosed && this.#reader.next()) this.#take(link, this.#reader.frame);
    this.#checkDrained();
  }

  onClosed(link: Link, why: string): void {
    this.#host.loop.remove(link);
    if (this.#link !== link) return;
    this.#link = null;
    const was = this.phase;
    this.phase = "closed";
    this.#endCopy();
    if (this.#verification !== null) this.#endVerification("the secondary went away");
    this.#hello = null;
    this.#points.end();
    this.#writer.clear();
    this.outbound.reset();
    this.#store.marks.peerGone();
    this.#lostAt = this.#now;
    this.#host.connectedTo(null);
    this.#host.progress(null);
    if (was === "greeting" || was === "waiting") {
      if (!this.#closing)
        this.#host.log("warning", `a connection of the peer ended before it was of use: ${why}`);
      return;
    }
    if (this.#closing) return;
    this.#host.report({ kind: "peerGone", cause: why, held: !this.outbound.alone });
    this.#checkDrained();
  }

  #take(link: Link, frame: Frame): void {
    switch (frame.type) {
      case FrameType.HELLO:
        if (frame.flags !== STREAM_VERSION) {
          link.close(
            `the peer speaks version ${frame.flags} of the stream, this node ${STREAM_VERSION}; run the same release on both`,
          );
          return;
        }
        this.#hello = parseFollowerHello(frame.data.copy());
        return;
      case FrameType.MARKS:
        if (!unionMarks(this.#store.marks, frame.data.copy())) link.close("the peer's marks are malformed");
        return;
      case FrameType.MARKS_END:
        this.#introduced = true;
        if (this.behind === null) this.#greet(link);
        return;
      case FrameType.READY:
        this.#ready();
        return;
      case FrameType.ACK:
        this.outbound.applied = Math.max(this.outbound.applied, frame.applied);
        // A copy that is being brought up to date is nobody's safety yet.
        if (this.phase !== "copying")
          this.outbound.acknowledged = Math.max(this.outbound.acknowledged, frame.inHands);
        this.#silentSince = 0;
        return;
      case FrameType.SYNC_DONE:
        this.#silentSince = 0;
        if (frame.errno === 0) this.outbound.settlement.settle(frame.ticket);
        else link.close(`the peer could not sync (errno ${frame.errno})`);
        return;
      case FrameType.DURABLE_DONE:
        this.#points.reached();
        return;
      case FrameType.CAUGHT_UP_DONE:
        if (this.phase === "catchingUp") this.#caughtUp();
        return;
      case FrameType.APPLY_FAILED:
        if (isDisagreement(frame.errno)) {
          // The peer's names are not what the marks say: no smaller copy can be trusted to mend that.
          this.#store.forget();
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

  /** Compares generations and answers the peer's hello. */
  #greet(link: Link): void {
    const hello = this.#hello;
    if (hello === null) {
      link.close("the peer sent no hello");
      return;
    }
    const own = {
      generations: this.#generations,
      word: this.#record.word,
      directories: this.#roots.length,
      marks: this.#store.marks,
    };
    const answer = answerTo(hello, own, (level, text) => this.#host.log(level, text));
    this.#points.greet(hello, answer.mode === "full");
    // On disk before the peer gives up what its copy was: it is told nothing that a crash here could take back.
    if (answer.mode === "full") this.#store.forget();
    const { frame } = this.#writer;
    frame.flags = STREAM_VERSION;
    frame.data.set(encodeHello(answer));
    this.outbound.send(FrameType.HELLO);
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

  /** The peer may change its copy. What is dirty is looked for first, a little in each turn: after a restart its places are hearsay. */
  #ready(): void {
    if (this.phase !== "waiting") return;
    this.phase = "locating";
    const { marks } = this.#store;
    const tree = new BackingTree(this.#roots, this.places, marks);
    const steps = tree.verifying([...marks.dirtyDirectories(), ...marks.dirtyObjects()]);
    this.#locating = { tree, steps };
  }

  /** Returns when to go on; the stream begins when all is found. */
  #locate(now: number): number {
    const { tree, steps } = this.#locating!;
    while (steps.next().done !== true) if (monotonic() > now + SLICE) return now;
    this.#locating = null;
    this.#begin(tree);
    return now;
  }

  #begin(tree: BackingTree): void {
    this.phase = "copying";
    this.#store.marks.peerBack();
    this.#roots.forEach(({ id }, index) => {
      this.outbound.root(id, index);
    });
    this.outbound.streaming = true;
    this.#points.begin(this.#now);
    const copy = new SourceCopy(
      this.#host,
      this.outbound,
      this.#store.marks,
      tree,
      this.#writer,
      this.#roots,
      this.#now,
    );
    this.#copy = copy;
    this.outbound.reintegration = copy.reintegration;
    this.outbound.resend = (): void => {
      copy.resend();
    };
  }

  #endCopy(): void {
    this.#locating?.tree.close();
    this.#locating = null;
    this.#copy?.close();
    this.#copy = null;
  }

  /** Nothing is dirty any more. From here on nothing is acknowledged without the peer's word. */
  #catchUp(): void {
    this.phase = "catchingUp";
    this.outbound.alone = false;
    this.outbound.reintegration = null;
    this.#caughtUpTo = { ticket: this.outbound.settlement.tickets, sequence: this.outbound.sequence };
    this.#points.catchUp((ticket) => {
      if (this.phase === "catchingUp") this.#tellCaughtUp(ticket);
    });
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
        copy: this.#record.word,
      }),
    );
    this.outbound.send(FrameType.CAUGHT_UP);
  }

  /** The peer's disk and record hold everything: this node remembers that before anything else is built upon it. */
  #caughtUp(): void {
    this.phase = "confirming";
    this.#points.record(() =>
      this.#host.report({ kind: "caughtUp", side: "source", generations: this.#generations }),
    );
  }

  /** Gives up a peer that does not answer in time. Returns when to look again. */
  #watch(now: number): number {
    const link = this.#link!;
    if (!link.isOpen) return link.proofDeadline;
    if (now - this.#sentAt >= PING_INTERVAL && this.phase !== "greeting" && this.phase !== "waiting") {
      this.#sentAt = now;
      this.#writer.frame.ticket = 0;
      this.outbound.send(FrameType.PING);
    }
    const owed =
      this.outbound.streaming &&
      (this.outbound.acknowledged < this.outbound.sequence || this.outbound.settlement.outstanding);
    // A target that copies may be long on one sync; the application does not wait for it then.
    if (!owed || this.outbound.alone) this.#silentSince = 0;
    else if (this.#silentSince === 0) this.#silentSince = now;
    else if (now - this.#silentSince > this.#host.config.timeoutMs) {
      link.close(`the peer has acknowledged nothing for ${this.#host.config.timeoutMs} ms`);
    }
    return now + Math.min(PING_INTERVAL, this.#host.config.timeoutMs / 4);
  }

  #checkDrained(): void {
    const done = this.#whenDrained;
    if (done === null) return;
    if (this.#link !== null && this.outbound.streaming && this.outbound.acknowledged < this.outbound.sequence)
      return;
    this.#whenDrained = null;
    done();
  }
}

/** Errors that an operation can only meet on a copy that differs: the disk is not at fault. */
function isDisagreement(errno: number): boolean {
  const { ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY, ESTALE } = errnos;
  return [ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY, ESTALE].some((known) => known === errno);
}
