/**
 * SECOND: dials the primary, tells what it holds, and applies the stream.
 *
 * The order of events on a connection: HELLO and marks to the source, its HELLO back; READY once the daemon let this copy be
 * changed; operations and reintegration in one stream; CAUGHT_UP, answered when everything is on this disk and the daemon
 * recorded it; IN_SYNC. Whatever goes wrong ends the connection, and the next one begins anew.
 */
import type { Generations } from "../failover/types.ts";
import { errnoName, errnos } from "../platform/linux/errno.ts";
import { allocate, pread } from "../platform/linux/libc.ts";
import type { Memory } from "../platform/linux/memory.ts";
import { dialTo } from "../platform/linux/sockets.ts";
import { rejoin } from "../replication/generations.ts";
import { exportMarks } from "../replication/marks_export.ts";
import { FrameType } from "../replication/operation.ts";
import { Applier } from "./applier.ts";
import { ChangedBehind } from "./changed_behind.ts";
import type { CopyRecord, KnownCopy } from "./copy_record.ts";
import { type NameFilter, nameFilter } from "./exclusion.ts";
import { encodeHello, parseSourceHello, STREAM_VERSION, wireGenerations } from "./hello.ts";
import { type Host, noGenerations } from "./host.ts";
import { KnownPlaces } from "./known_places.ts";
import { Link, type LinkOwner } from "./link.ts";
import type { MarksStore } from "./marks_store.ts";
import { describe } from "./object_description.ts";
import { coverReadOnly, uncover } from "./read_only_view.ts";
import type { ReplicaRoots } from "./replica_identity.ts";
import { ReplicaObjects } from "./replica_objects.ts";
import { saveChanges } from "./saved_copy.ts";
import { rememberPlaces, touch } from "./second_marks.ts";
import { BackingTree } from "./source_tree.ts";
import { StreamReader, StreamWriter } from "./stream_buffers.ts";
import { SyncQueue } from "./sync_queue.ts";
import { TargetCopy } from "./target_copy.ts";
import { TouchedObjects } from "./touched_objects.ts";
import { hashOf, ZONE } from "./verify.ts";

/** A primary says something this often, ms. */
const PRIMARY_PINGS = 1000;
const DIAL_FIRST = 50;
const DIAL_MOST = 2000;
/** After an operation that could not be applied: the cause may go away, hammering will not help it. */
const DIAL_AFTER_FAILURE = 10_000;

/** How far the present connection is. */
type Phase = "idle" | "greeting" | "waiting" | "following" | "catchingUp" | "inSync";

/** The target of a stream. */
export class Second implements LinkOwner {
  phase: Phase = "idle";
  readonly #host: Host;
  readonly #store: MarksStore;
  readonly #record: CopyRecord;
  readonly #roots: ReplicaRoots;
  #generations: Generations;
  readonly #objects = new ReplicaObjects();
  readonly #applier: Applier;
  readonly #copy: TargetCopy;
  readonly #touched: TouchedObjects;
  readonly #writer = new StreamWriter();
  #reader = new StreamReader();
  readonly #syncs: SyncQueue;
  /** Somebody asked for a full copy, and it has not begun yet. */
  #full: boolean;
  /** The source answered with a full copy. */
  #isFull = false;
  readonly #sacrifice: boolean;
  #saved = false;
  #zone: Memory | null = null;
  readonly #filters: readonly (NameFilter | null)[];
  #link: Link | null = null;
  #dialAt = 0;
  #dialDelay = DIAL_FIRST;
  #address = 0;
  #applied = 0;
  #acknowledged = 0;
  #source: Generations;
  /** The source's copy, and its last durable point: it begins the next one only when the last is on its disk. */
  #sourceCopy: KnownCopy = { id: "", counter: 0 };
  #caughtUpTicket = 0;
  #sealed: (() => void) | null = null;
  /** Looks for what was changed while the module was stopped: the source must hear of it first. */
  #behind: ChangedBehind | null = null;
  #stopped = false;
  #now = 0;

  constructor(
    host: Host,
    store: MarksStore,
    record: CopyRecord,
    roots: ReplicaRoots,
    generations: Generations,
    full: boolean,
    sacrifice: boolean,
  ) {
    this.#host = host;
    this.#store = store;
    this.#record = record;
    this.#roots = roots;
    this.#generations = generations;
    this.#source = generations;
    this.#full = full;
    this.#sacrifice = sacrifice;
    this.#filters = host.config.paths.map(nameFilter);
    this.#applier = new Applier(this.#objects, roots);
    this.#copy = new TargetCopy(this.#applier, this.#objects, roots, this.#filters);
    this.#syncs = new SyncQueue(host.pool, (ticket, errno) => this.#synced(ticket, errno));
    this.#touched = new TouchedObjects(this.#objects, host.pool, roots.fds);
  }

  /** Covers the directories and begins to dial. Throws when a directory cannot be covered. */
  start(): void {
    for (const { path } of this.#host.config.paths) {
      uncover(path);
      coverReadOnly(path);
    }
    this.#behind = ChangedBehind.begin(this.#host, this.#store, this.#roots.tops(this.#filters), null);
  }

  /** The daemon let this copy go on, after `reintegrating` or `caughtUp`. */
  proceed(after: "reintegrating" | "caughtUp"): void {
    if (this.phase === "waiting" && after === "reintegrating") {
      // Durably worth nothing now: that tells by itself what is to be copied, and an interrupted full copy may go on.
      if (this.#isFull) this.#generations = noGenerations;
      this.#full &&= !this.#isFull;
      this.#ready();
    } else if (this.phase === "catchingUp" && after === "caughtUp") {
      // Equal and durable on both disks: nothing of the past is owed any more, and the past is the source's from here on.
      this.#generations = rejoin(this.#source);
      this.#store.marks.clear();
      this.#store.flush();
      this.#writer.frame.type = FrameType.CAUGHT_UP_DONE;
      this.#writer.frame.ticket = this.#caughtUpTicket;
      this.#add();
    }
  }

  /** Refuses the stream from now on. Everything that was acknowledged is applied already; `done` is called when no sync runs any more. */
  seal(done: () => void): void {
    this.#stopped = true;
    rememberPlaces(this.#store.marks, this.#objects);
    this.#link?.close("this node takes over");
    this.#store.marks.peerGone();
    this.#store.rewrite();
    this.#sealed = done;
  }

  /** Removes the read-only view and closes everything. Only when sealed. */
  release(): void {
    this.#behind?.close();
    for (const { path } of this.#host.config.paths) uncover(path);
    this.#objects.clear();
    this.#reader.close();
  }

  /** Once a turn. Returns when it wants to be called again. */
  afterTurn(now: number): number {
    this.#now = now;
    this.#syncs.retry();
    this.#touched.retry();
    if (this.#sealed !== null && this.#syncs.idle && this.#touched.idle) {
      const done = this.#sealed;
      this.#sealed = null;
      done();
    }
    if (this.#behind?.isDone === false) return this.#behind.step(now, true);
    if (this.#link === null) return this.#dial(now);
    if (!this.#link.isOpen) {
      if (now >= this.#link.proofDeadline) this.#link.close("the peer did not prove itself in time");
      return this.#link?.proofDeadline ?? now;
    }
    this.#acknowledge();
    this.#writer.flush(this.#link);
    return this.#link === null ? now : this.#watch(this.#link, now);
  }

  /** Gives up a primary whose pings stay away: its goodbye may be lost with the lan. Returns when to look again. */
  #watch(link: Link, now: number): number {
    const pinged = this.phase === "following" || this.phase === "catchingUp" || this.phase === "inSync";
    if (!pinged) return Number.POSITIVE_INFINITY;
    const deadline = link.heardAt + PRIMARY_PINGS + this.#host.config.timeoutMs;
    if (now < deadline) return deadline;
    link.close("the primary is silent");
    return this.#dialAt;
  }

  onOpen(link: Link): void {
    this.#dialDelay = DIAL_FIRST;
    this.#host.connectedTo(link.name);
    this.phase = "greeting";
    const { frame } = this.#writer;
    frame.type = FrameType.HELLO;
    frame.flags = STREAM_VERSION;
    frame.data.set(
      encodeHello({
        generations: wireGenerations(this.#generations),
        full: this.#full,
        sacrifice: this.#sacrifice,
        paths: this.#host.config.paths.length,
        copy: this.#record.word,
      }),
    );
    this.#add();
    for (const chunk of exportMarks(this.#store.marks)) {
      frame.type = FrameType.MARKS;
      frame.data.set(chunk);
      this.#add();
    }
    frame.type = FrameType.MARKS_END;
    this.#add();
  }

  onFrame(link: Link, plain: Uint8Array): void {
    this.#reader.push(plain);
    this.#host.counters.bytesReceived += plain.length;
    while (!link.isClosed && this.#reader.next()) this.#take(link);
  }

  onClosed(link: Link, why: string): void {
    this.#host.loop.remove(link);
    if (this.#link !== link) return;
    this.#link = null;
    if (link.bytesReceived > 0) this.#host.connectedTo(null);
    if (!this.#stopped && (this.phase !== "idle" || why.includes("key"))) {
      this.#host.log("warning", `the connection to the primary at ${link.name} ended: ${why}`);
    }
    this.phase = "idle";
    this.#writer.clear();
    this.#reader.close();
    this.#reader = new StreamReader();
    rememberPlaces(this.#store.marks, this.#objects);
    this.#objects.clear();
    this.#copy.reset();
    this.#touched.clear();
    this.#dialAt = Math.max(this.#dialAt, this.#now + this.#dialDelay);
  }

  #dial(now: number): number {
    const { dial, timeoutMs, module } = this.#host.config;
    if (this.#stopped || dial.length === 0) return Number.POSITIVE_INFINITY;
    if (now < this.#dialAt) return this.#dialAt;
    const { address, port } = dial[this.#address++ % dial.length]!;
    // All lans are tried before waiting gets longer; the preferred one is always first.
    if (this.#address % dial.length === 0) {
      this.#address = 0;
      this.#dialDelay = Math.min(this.#dialDelay * 2, DIAL_MOST);
    }
    const fd = dialTo(address, port);
    if (fd < 0) {
      this.#dialAt = now + this.#dialDelay;
      return this.#dialAt;
    }
    const link = new Link(fd, "dialer", `${address}:${port}`, this.#host.key, module, timeoutMs, now, this);
    this.#link = link;
    this.#host.loop.add(link);
    return link.proofDeadline;
  }

  #take(link: Link): void {
    const { frame } = this.#reader;
    if (Applier.knows(frame.type)) {
      this.#apply(link);
      return;
    }
    switch (frame.type) {
      case FrameType.HELLO:
        this.#greeted(link);
        return;
      case FrameType.PING:
        this.#applied = frame.sequence;
        return;
      case FrameType.SYNC:
        this.#applied = frame.sequence;
        this.#sync();
        return;
      case FrameType.VERIFY:
        this.#applied = frame.sequence;
        this.#verify();
        return;
      case FrameType.DURABLE_POINT:
        this.#applied = frame.sequence;
        if (frame.flags === 1) this.#forgiven();
        this.#store.marks.beginPoint();
        this.#durablePoint(frame.ticket, FrameType.DURABLE_DONE);
        this.#sourceCopy = { ...this.#sourceCopy, counter: frame.ticket };
        return;
      case FrameType.SETTLED:
        this.#applied = frame.sequence;
        this.#store.marks.confirmPoint();
        return;
      case FrameType.CAUGHT_UP:
        this.#applied = frame.sequence;
        this.#source = parseSourceHello(frame.data.copy()).generations;
        this.#caughtUpTicket = frame.ticket;
        this.#sourceCopy = { ...this.#sourceCopy, counter: frame.ticket };
        this.#finishCopy();
        this.#durablePoint(frame.ticket, FrameType.CAUGHT_UP_DONE);
        return;
      case FrameType.IN_SYNC:
        this.#applied = frame.sequence;
        this.#full = false;
        this.phase = "inSync";
        this.#host.progress(null);
        this.#host.report({ kind: "inSync" });
        return;
      default:
        this.#reintegrate(link);
    }
  }

  #apply(link: Link): void {
    const { frame } = this.#reader;
    if (this.phase !== "following" && this.phase !== "catchingUp" && this.phase !== "inSync") {
      link.close(`the primary sent operations before this node was ready (frame type ${frame.type})`);
      return;
    }
    this.#applier.dataAddress = this.#reader.memory.address;
    const result = this.#applier.apply(frame);
    if (result < 0) this.#failed(link, result);
    else {
      this.#copy.follow(frame);
      this.#progressed();
    }
  }

  #progressed(): void {
    const { frame } = this.#reader;
    this.#applied = frame.sequence;
    this.#host.counters.operations++;
    this.#touched.note(frame);
    touch(this.#store.marks, frame);
  }

  #reintegrate(link: Link): void {
    const { frame } = this.#reader;
    this.#applier.dataAddress = this.#reader.memory.address;
    const result = this.#copy.take(frame, this.#writer);
    if (result < 0) this.#failed(link, result);
    else this.#progressed();
  }

  /** The source's marks tell all that this copy lacks; that its own do not is no reason any more to copy everything. */
  #forgiven(): void {
    if (!this.#store.marks.owesEverything) return;
    this.#store.marks.peerTells();
    this.#store.rewrite();
  }

  #finishCopy(): void {
    const result = this.#copy.finish();
    if (result < 0) this.#host.log("warning", `.holdfast/limbo could not be emptied: ${errnoName(result)}`);
  }

  /** The copies differ from here on: says so, and stops following. */
  #failed(link: Link, result: number): void {
    const { frame } = this.#reader;
    const detail = `operation ${frame.sequence} (type ${frame.type}, object ${frame.id.toString(16)}) failed on this copy: ${errnoName(result)}`;
    const out = this.#writer.frame;
    out.type = FrameType.APPLY_FAILED;
    out.applied = frame.sequence;
    out.errno = -result;
    out.data.set(new TextEncoder().encode(detail));
    this.#add();
    this.#writer.flush(link);
    this.#host.log("error", detail);
    this.#dialAt = this.#now + DIAL_AFTER_FAILURE;
    link.close(detail);
    if (isDiskError(-result)) this.#host.report({ kind: "diskFailed", detail });
  }

  #greeted(link: Link): void {
    const { frame } = this.#reader;
    if (frame.flags !== STREAM_VERSION) {
      link.close(
        `the primary speaks version ${frame.flags} of the stream, this node ${STREAM_VERSION}; run the same release on both`,
      );
      return;
    }
    const hello = parseSourceHello(frame.data.copy());
    this.#source = hello.generations;
    this.#sourceCopy = { id: hello.copy.id, counter: hello.copy.counter };
    this.#isFull = hello.mode === "full";
    if (this.#isFull) this.#host.log("info", `the primary copies everything: ${hello.detail}`);
    if (hello.mode === "refused") {
      this.#dialAt = this.#now + DIAL_MOST;
      const relation = hello.relation === "split-brain" ? "split-brain" : "unrelated";
      this.#host.report({ kind: "refused", relation, detail: hello.detail });
      link.close(hello.detail);
      return;
    }
    if (this.#sacrifice && hello.relation === "split-brain") this.#saveChanges();
    this.phase = "waiting";
    if (hello.mode === "equal") this.#ready();
    else this.#host.report({ kind: "reintegrating", side: "target", full: hello.mode === "full" });
  }

  /** Both wrote alone, and this copy gives way: what it has is kept aside before its first byte changes. Throws, and nothing is lost. */
  #saveChanges(): void {
    if (this.#saved) return;
    const { paths, savedDir } = this.#host.config;
    const roots = this.#roots.tops(paths.map(nameFilter));
    const tree = new BackingTree(roots, new KnownPlaces(), this.#store.marks);
    const tops = roots.map(({ id }, index) => ({ id, path: paths[index]!.path }));
    const saved = saveChanges(savedDir, this.#store.marks, tree, tops);
    tree.close();
    this.#saved = true;
    if (saved === null) this.#host.log("info", "both nodes went on alone, but this one had changed nothing");
    else
      this.#host.log(
        "warning",
        `both nodes had written alone; what this one wrote is kept in ${saved.directory} (${saved.files} objects, ${saved.bytes} bytes; see report.json)`,
      );
  }

  #ready(): void {
    this.phase = "following";
    this.#applied = 0;
    this.#acknowledged = 0;
    this.#writer.frame.type = FrameType.READY;
    this.#writer.frame.data.set(new Uint8Array(0));
    this.#add();
  }

  #sync(): void {
    const { frame } = this.#reader;
    this.#host.counters.syncs++;
    const fd = this.#objects.fd(frame.id);
    if (fd < 0) this.#synced(frame.ticket, -fd);
    else this.#syncs.sync(frame.id, fd, (frame.flags & 1) !== 0, frame.ticket);
  }

  #synced(ticket: number, errno: number): void {
    if (errno !== 0)
      this.#host.report({ kind: "diskFailed", detail: `syncing on this copy failed: ${errnoName(errno)}` });
    if (this.#link?.isOpen !== true) return;
    const { frame } = this.#writer;
    frame.type = FrameType.SYNC_DONE;
    frame.ticket = ticket;
    frame.errno = errno;
    this.#add();
  }

  /** Compares what the source says of an object with this copy, at this point of the stream. */
  #verify(): void {
    const { frame } = this.#reader;
    const fd = this.#objects.fd(frame.id);
    const mine = fd < 0 ? `missing: ${errnoName(fd)}` : this.#own(fd);
    const hash = typeof mine === "string" ? hashOf(new TextEncoder().encode(mine)) : hashOf(mine);
    const out = this.#writer.frame;
    out.type = FrameType.VERIFIED;
    out.ticket = frame.ticket;
    out.errno = fd >= 0 && Buffer.compare(hash, frame.data.copy()) === 0 ? 0 : 1;
    out.data.set(
      out.errno === 0 || typeof mine !== "string"
        ? new Uint8Array(0)
        : new TextEncoder().encode(mine.slice(0, 1 << 20)),
    );
    this.#add();
  }

  /** This copy of what a VERIFY is about: its description, or the bytes of the zone. */
  #own(fd: number): string | Uint8Array {
    const { id, length, offset } = this.#reader.frame;
    if (length === 0) {
      const object = this.#objects.get(id)!;
      const filter = this.#filters[object.root] ?? null;
      return describe(fd, this.#roots.identities[object.root]!, object.parent === 0, filter);
    }
    this.#zone ??= allocate(ZONE);
    const count = pread(fd, this.#zone.address, Math.min(length, ZONE), offset);
    return this.#zone.bytes.slice(0, Math.max(0, count));
  }

  /** Everything applied so far goes to disk; the answer when it is there. */
  #durablePoint(ticket: number, answer: FrameType): void {
    const link = this.#link;
    const sourceCopy = this.#sourceCopy;
    const recorded = (errno: number): void => {
      if (this.#link !== link || link === null) return;
      if (errno !== 0) {
        this.#host.report({
          kind: "diskFailed",
          detail: `a durable point failed on this copy: ${errnoName(errno)}`,
        });
        link.close("a durable point failed");
        return;
      }
      this.#host.counters.durablePoints++;
      if (answer === FrameType.CAUGHT_UP_DONE) {
        this.phase = "catchingUp";
        this.#host.report({ kind: "caughtUp", side: "target", generations: this.#source });
        return;
      }
      const { frame } = this.#writer;
      frame.type = FrameType.DURABLE_DONE;
      frame.ticket = ticket;
      frame.errno = 0;
      this.#add();
    };
    this.#touched.sync(answer === FrameType.CAUGHT_UP_DONE, (errno) => {
      if (this.#link !== link) return;
      if (errno === 0) this.#record.write(ticket, sourceCopy, recorded);
      else recorded(errno);
    });
  }

  #acknowledge(): void {
    if (this.#applied === this.#acknowledged) return;
    const { frame } = this.#writer;
    frame.type = FrameType.ACK;
    frame.applied = this.#applied;
    frame.inHands = this.#applied;
    this.#acknowledged = this.#applied;
    this.#add();
  }

  #add(): void {
    this.#writer.frame.sequence = 0;
    this.#writer.add();
  }

  /** The roots, for who serves next. */
  get roots(): ReplicaRoots {
    return this.#roots;
  }

  /** Ends an attempt to connect at once: for stop. */
  abandon(): void {
    this.#stopped = true;
    if (this.#link !== null) this.#link.close("stopped");
  }
}

/** Errors that say something about the disk rather than about the stream. */
function isDiskError(errno: number): boolean {
  return errno === errnos.EIO || errno === errnos.ENOSPC || errno === errnos.EROFS || errno === errnos.EDQUOT;
}
