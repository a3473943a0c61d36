/**
 * PRIM proves that both copies are equal while the application runs (G7).
 *
 * A question carries what the source's copy is at that point of the stream; the target compares when it gets there, so both speak of
 * the same moment (trap 13). What differs is asked again a little later: only what stays different is reported.
 */
import { createHash } from "node:crypto";
import { S_IFDIR, S_IFMT, S_IFREG } from "../platform/linux/constants.ts";
import { isAbsent } from "../platform/linux/errno.ts";
import { allocate, close, pread } from "../platform/linux/libc.ts";
import { DT_DIR } from "../replication/names.ts";
import { type Frame, Frame as FrameBuffer, FrameType } from "../replication/operation.ts";
import { readAttributes } from "./attributes.ts";
import type { VerifyResult } from "./control.ts";
import { describe, unreadable, unreadableParts, whatDiffers } from "./object_description.ts";
import type { OrderedStream } from "./ordered_stream.ts";
import { monotonic } from "./poll_loop.ts";
import type { BackingTree, TreeRoot } from "./source_tree.ts";
import type { StreamWriter } from "./stream_buffers.ts";

/** Bytes compared by one question. */
export const ZONE = 256 << 10;
const IN_FLIGHT = 64;
const SLICE = 3;
/** Later enough that the primary has told modification times, ms. */
const RETRY_AFTER = 1300;
const TRIES = 4;

const room = allocate(ZONE);

/** A question that waits for its answer, or for its next try. */
interface Question {
  id: number;
  path: string;
  /** -1: names and attributes; else the zone's offset. */
  offset: number;
  told: string;
  tries: number;
  dueAt: number;
}

/** A file or directory still to be looked at. */
interface Ahead {
  id: number;
  path: string;
  directory: boolean;
}

/** One verification. */
export class Verification {
  readonly #outbound: OrderedStream;
  readonly #writer: StreamWriter;
  readonly #tree: BackingTree;
  readonly #roots: readonly TreeRoot[];
  readonly #done: (result: VerifyResult) => void;
  readonly #ahead: Ahead[];
  readonly #asked = new Map<number, Question>();
  readonly #again: Question[] = [];
  readonly #result: {
    objects: number;
    bytes: number;
    differences: { path: string; what: string }[];
    unreadable: VerifyResult["unreadable"][number][];
  } = { objects: 0, bytes: 0, differences: [], unreadable: [] };
  /** What is in the result as unreadable. */
  readonly #known = new Set<string>();
  readonly #frame = new FrameBuffer();
  #ticket = 0;
  #file: { id: number; path: string; fd: number; offset: number; size: number } | null = null;

  /** `paths` are those of the roots, in the same order. */
  constructor(
    outbound: OrderedStream,
    writer: StreamWriter,
    tree: BackingTree,
    roots: readonly TreeRoot[],
    paths: readonly string[],
    done: (result: VerifyResult) => void,
  ) {
    this.#outbound = outbound;
    this.#writer = writer;
    this.#tree = tree;
    this.#roots = roots;
    this.#done = done;
    this.#ahead = roots.map(({ id }, index) => ({ id, path: paths[index] ?? "", directory: true }));
  }

  /** Asks what there is room and time for. Returns when to go on by itself; Infinity: with the next answer. */
  step(now: number): number {
    const end = now + SLICE;
    while (this.#asked.size < IN_FLIGHT) {
      if (monotonic() > end) return now;
      if (this.#file !== null) this.#askZone(this.#file);
      else if (this.#ahead.length > 0) this.#look(this.#ahead.pop()!);
      else return this.#askAgain(now);
    }
    return Number.POSITIVE_INFINITY;
  }

  /** The target's answer: equal, or what it has instead. */
  answered(frame: Frame, now: number): void {
    const question = this.#asked.get(frame.ticket);
    if (question === undefined) return;
    this.#asked.delete(frame.ticket);
    if (frame.errno === 0) return;
    if (++question.tries < TRIES) {
      question.dueAt = now + RETRY_AFTER;
      this.#again.push(question);
      return;
    }
    const theirs = new TextDecoder().decode(frame.data.copy());
    const { path, told, offset } = question;
    const isReadHere = !this.#cannotRead(path, "primary", told);
    if (this.#cannotRead(path, "secondary", theirs) || !isReadHere) return;
    const what = offset >= 0 ? `${zoneName(offset)} differ` : whatDiffers(told, theirs);
    this.#result.differences.push({ path, what });
  }

  /** True when this is what a node says of an object that it cannot read, which is a result of its own. */
  #cannotRead(path: string, node: "primary" | "secondary", said: string): boolean {
    const parts = unreadableParts(said);
    for (const { what, error } of parts) {
      const key = `${node} ${what} ${path}`;
      if (!this.#known.has(key)) this.#result.unreadable.push({ path, node, what, error });
      this.#known.add(key);
    }
    return parts.length > 0;
  }

  /** Closes what is open. */
  close(): void {
    if (this.#file !== null) close(this.#file.fd);
    this.#file = null;
    this.#tree.close();
  }

  /** Asks again what differed, once it is due; ends when nothing is left. */
  #askAgain(now: number): number {
    const question = this.#again[0];
    if (question === undefined) {
      if (this.#asked.size === 0) this.#done(this.#result);
      return Number.POSITIVE_INFINITY;
    }
    if (now < question.dueAt) return question.dueAt;
    this.#again.shift();
    const fd = this.#tree.open(question.id);
    if (fd < 0) {
      this.#notOpened(question.path, fd);
      return now;
    }
    if (question.offset < 0) this.#ask(question, this.#describe(question.id, fd), new Uint8Array(0));
    else this.#askBytes(question, fd);
    close(fd);
    return now;
  }

  #look({ id, path, directory }: Ahead): void {
    const fd = this.#tree.open(id);
    if (fd < 0) {
      this.#notOpened(path, fd);
      return;
    }
    if (!this.#outbound.bind(id)) {
      close(fd);
      return;
    }
    this.#result.objects++;
    this.#ask(
      { id, path, offset: -1, told: "", tries: 0, dueAt: 0 },
      this.#describe(id, fd),
      new Uint8Array(0),
    );
    const known = readAttributes(fd, this.#frame);
    if (directory) this.#enter(id, path);
    if (known >= 0 && (this.#frame.mode & S_IFMT) === S_IFREG && this.#frame.size > 0) {
      this.#file = { id, path, fd, offset: 0, size: this.#frame.size };
    } else close(fd);
  }

  /** Deleted meanwhile, its directory's names say whether the target knows. */
  #notOpened(path: string, result: number): void {
    if (!isAbsent(result)) this.#cannotRead(path, "primary", unreadable("all of it", result));
  }

  #enter(id: number, path: string): void {
    const entries = this.#tree.list(id);
    if (typeof entries === "number") {
      if (!isAbsent(entries)) this.#cannotRead(path, "primary", unreadable("names", entries));
      return;
    }
    for (const { id: child, name, type } of entries) {
      const text = Buffer.from(name, "latin1").toString("utf8");
      this.#ahead.push({ id: child, path: `${path}/${text}`, directory: type === DT_DIR });
    }
  }

  #askZone(file: { id: number; path: string; fd: number; offset: number; size: number }): void {
    if (file.offset >= file.size) {
      close(file.fd);
      this.#file = null;
      return;
    }
    this.#askBytes(
      { id: file.id, path: file.path, offset: file.offset, told: "", tries: 0, dueAt: 0 },
      file.fd,
    );
    file.offset += ZONE;
  }

  #askBytes(question: Question, fd: number): void {
    const count = readZone(fd, room.address, ZONE, question.offset);
    if (question.tries === 0) this.#result.bytes += Math.max(0, count);
    const told = count < 0 ? unreadable(zoneName(question.offset), count) : "";
    this.#ask(question, told, hashOf(count < 0 ? Buffer.from(told) : room.bytes.subarray(0, count)));
  }

  #ask(question: Question, told: string, hash: Uint8Array): void {
    question.told = told;
    const ticket = ++this.#ticket;
    this.#asked.set(ticket, question);
    if (!this.#outbound.bind(question.id)) {
      this.#asked.delete(ticket);
      return;
    }
    const { frame } = this.#writer;
    frame.ticket = ticket;
    frame.id = question.id;
    frame.offset = Math.max(0, question.offset);
    frame.length = question.offset < 0 ? 0 : ZONE;
    frame.data.set(question.offset < 0 ? hashOf(new TextEncoder().encode(told)) : hash);
    this.#outbound.send(FrameType.VERIFY);
  }

  #describe(id: number, fd: number): string {
    readAttributes(fd, this.#frame);
    const directory = (this.#frame.mode & S_IFMT) === S_IFDIR ? this.#tree.directory(id) : null;
    const root = directory === null || typeof directory === "number" ? this.#roots[0]! : directory.root;
    return describe(fd, root.identities, root.id === id, root.filter);
  }
}

/** The bytes that are compared by one question, in words. */
export const zoneName = (offset: number): string => `bytes ${offset} to ${offset + ZONE - 1}`;

/** Reads up to `length` bytes; less is the end of the file. Returns -errno: a bad block only shortens the call that comes to it. */
export function readZone(fd: number, to: number, length: number, offset: number): number {
  let done = 0;
  while (done < length) {
    const count = pread(fd, to + done, length - done, offset + done);
    if (count < 0) return count;
    if (count === 0) break;
    done += count;
  }
  return done;
}

/** SHA-256. */
export const hashOf = (bytes: Uint8Array): Uint8Array => createHash("sha256").update(bytes).digest();
