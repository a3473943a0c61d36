/**
 * PRIM proves that both copies are equal while the application runs (G7).
 *
 * A question carries what the source's copy is at that point of the stream; the target compares when it gets there, so both speak of
 * the same moment (trap 13). What differs is asked again a little later: only what stays different is reported.
 */
import { createHash } from "node:crypto";
import { S_IFDIR, S_IFMT, S_IFREG, SEEK_DATA } from "../../platform/linux/constants.ts";
import { errnos, isAbsent } from "../../platform/linux/errno.ts";
import { allocate, close, lseek, pread } from "../../platform/linux/libc.ts";
import { DT_DIR } from "../../replication/names.ts";
import { type Frame, Frame as FrameBuffer, FrameType } from "../../replication/operation.ts";
import type { VerifyResult } from "../control.ts";
import { monotonic } from "../loop/poll_loop.ts";
import { readAttributes } from "../objects/attributes.ts";
import type { Listing } from "../objects/listing.ts";
import type { BackingTree, TreeRoot } from "../objects/source_tree.ts";
import type { OrderedStream } from "../stream/ordered_stream.ts";
import type { StreamWriter } from "../stream/stream_buffers.ts";
import {
  DirectoryDescription,
  describe,
  unreadable,
  unreadableParts,
  whatDiffers,
} from "./object_description.ts";

/** Bytes compared by one question. A question about more is whether they are a hole: one that does not know that answers that they differ. */
export const ZONE = 256 << 10;
/** What is said of a hole. */
export const HOLE = "a hole";
/** What is a hole in one copy only is read when it is no more than this; else it is halved, and asked about again. Whole zones. */
const READ_THROUGH = 1 << 24;
const IN_FLIGHT = 64;
const SLICE = 3;
/** Later enough that the primary has told modification times, ms. */
const RETRY_AFTER = 1300;
const TRIES = 4;
/** This try is the last. */
export const LAST_TRY = TRIES - 1;
/** What is not known of a directory that cannot be listed. */
const BELOW = "names and what lies below";
/** How often a directory is listed a little at a time, before it is in one go. */
const MOST_TORN = 3;

const room = allocate(ZONE);

/** A question that waits for its answer, or for its next try. */
interface Question {
  id: number;
  /** -1: names and attributes; else where the bytes begin. */
  offset: number;
  /** More than a zone: a hole's. */
  length: number;
  told: string;
  tries: number;
  dueAt: number;
}

/** What of a file is still to be compared. `offset`: where a zone begins. */
interface Part {
  id: number;
  offset: number;
  end: number;
  /** It is read, whether it is a hole or not. */
  isRead: boolean;
}

/** A directory that is being listed. */
interface Look {
  question: Question;
  fd: number;
  listing: Listing;
  description: DirectoryDescription;
  /** What it holds, as in `#ahead`; null: that was seen before. */
  children: number[] | null;
  /** How often it changed on the way. */
  torn: number;
}

/** One verification. */
export class Verification {
  readonly #outbound: OrderedStream;
  readonly #writer: StreamWriter;
  readonly #tree: BackingTree;
  readonly #done: (result: VerifyResult | string) => void;
  readonly #tops: readonly { path: string }[];
  /** Identities still to be looked at; those of directories negative. */
  readonly #ahead: number[];
  /** By their tickets, which are used again. A Map would grow and be copied all the time, and what is kept of it keep what comes later. */
  readonly #asked: (Question | null)[] = new Array<null>(IN_FLIGHT).fill(null);
  #inFlight = 0;
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
  #file: (Part & { fd: number }) | null = null;
  /** Holes that are none in the other copy. */
  readonly #parts: Part[] = [];
  #look: Look | null = null;

  /** `paths` are those of the roots, in the same order. `done` hears the result, or why there is none. */
  constructor(
    outbound: OrderedStream,
    writer: StreamWriter,
    tree: BackingTree,
    roots: readonly TreeRoot[],
    paths: readonly string[],
    done: (result: VerifyResult | string) => void,
  ) {
    this.#outbound = outbound;
    this.#writer = writer;
    this.#tree = tree;
    this.#done = done;
    this.#tops = paths.map((path) => ({ path }));
    this.#ahead = roots.map(({ id }) => -id);
  }

  /** Asks what there is room and time for. Returns when to go on by itself; Infinity: with the next answer. */
  step(now: number): number {
    const end = now + SLICE;
    while (this.#inFlight < IN_FLIGHT) {
      if (monotonic() > end) return now;
      if (this.#look !== null) this.#lookFurther(this.#look);
      else if (this.#file !== null) this.#askBytesOf(this.#file);
      else if (this.#parts.length > 0) this.#open(this.#parts.pop()!);
      else if (this.#ahead.length > 0) this.#begin(this.#ahead.pop()!);
      else return this.#askAgain(now);
    }
    return Number.POSITIVE_INFINITY;
  }

  /** The target's answer: equal, or what it has instead. */
  answered(frame: Frame, now: number): void {
    const question = this.#asked[frame.ticket];
    if (question == null) return;
    this.#asked[frame.ticket] = null;
    this.#inFlight--;
    if (question.length > ZONE) {
      this.#answeredHole(question, frame.errno === 0);
      return;
    }
    if (frame.errno === 0) return;
    if (++question.tries < TRIES) {
      question.dueAt = now + RETRY_AFTER;
      this.#again.push(question);
      return;
    }
    // Deleted meanwhile, its directory's names say whether the target knows.
    if (this.#tree.pathOf(question.id) === null) return;
    const path = this.#tree.inWords(question.id, this.#tops);
    const theirs = new TextDecoder().decode(frame.data.copy());
    const { told, offset } = question;
    const isReadHere = !this.#cannotRead(path, "primary", told);
    if (this.#cannotRead(path, "secondary", theirs) || !isReadHere) return;
    const what = offset >= 0 ? `${zoneName(offset)} differ` : whatDiffers(told, theirs);
    this.#result.differences.push({ path, what });
  }

  #answeredHole({ id, offset, length }: Question, isEqual: boolean): void {
    const end = offset + length;
    const isRead = length <= READ_THROUGH;
    const middle = isRead ? end : offset + Math.ceil(length / 2 / ZONE) * ZONE;
    if (isEqual) this.#result.bytes += length;
    else this.#parts.push({ id, offset: middle, end, isRead }, { id, offset, end: middle, isRead });
  }

  /** True when this is what a node says of an object that it cannot read, which is a result of its own. */
  #cannotRead(path: string, node: "primary" | "secondary", said: string): boolean {
    const parts = unreadableParts(said);
    for (const { what, error } of parts) {
      const key = `${node} ${what} ${path}`;
      const isPart = what === "names" && this.#known.has(`${node} ${BELOW} ${path}`);
      if (!isPart && !this.#known.has(key)) this.#result.unreadable.push({ path, node, what, error });
      this.#known.add(key);
    }
    return parts.length > 0;
  }

  /** `what` of the object is not given here; when it was deleted meanwhile, its directory's names say whether the target knows. */
  #notOpened(id: number, what: string, result: number): void {
    if (!isAbsent(result))
      this.#cannotRead(this.#tree.inWords(id, this.#tops), "primary", unreadable(what, result));
  }

  /** Ends with this result, or for this reason. */
  end(result: VerifyResult | string): void {
    if (this.#file !== null) close(this.#file.fd);
    this.#file = null;
    this.#endLook();
    this.#tree.close();
    this.#done(result);
  }

  /** Asks again what differed, once it is due; ends when nothing is left. */
  #askAgain(now: number): number {
    const question = this.#again[0];
    if (question === undefined) {
      if (this.#inFlight === 0) this.end(this.#result);
      return Number.POSITIVE_INFINITY;
    }
    if (now < question.dueAt) return question.dueAt;
    this.#again.shift();
    const fd = this.#tree.openKnown(question.id);
    if (fd < 0) {
      this.#notOpened(question.id, "all of it", fd);
      return now;
    }
    if (question.offset < 0) this.#tell(question, fd, false);
    else {
      this.#askBytes(question, fd);
      close(fd);
    }
    return now;
  }

  /** Looks at what comes next. */
  #begin(entry: number): void {
    const id = Math.abs(entry);
    const fd = this.#tree.openKnown(id);
    if (fd < 0) {
      this.#notOpened(id, "all of it", fd);
      return;
    }
    if (!this.#outbound.bind(id)) {
      close(fd);
      return;
    }
    this.#result.objects++;
    this.#tell(newQuestion(id, -1, 0), fd, entry < 0);
  }

  /** Tells the names and attributes of the open object, which is closed in the end. `enter`: it is a directory, and what it holds is looked at too. */
  #tell(question: Question, fd: number, enter: boolean): void {
    const known = readAttributes(fd, this.#frame);
    const { mode, size } = this.#frame;
    const type = known < 0 ? 0 : mode & S_IFMT;
    // Its bytes are not looked at: not even if its attributes can be read when it is asked about again.
    if (known < 0) this.#notOpened(question.id, "all of it", known);
    if (enter || type === S_IFDIR) {
      this.#list(question, fd, enter, 0);
      return;
    }
    this.#ask(question, describe(fd), new Uint8Array(0));
    if (question.tries === 0 && type === S_IFREG && size > 0)
      this.#file = { id: question.id, fd, offset: 0, end: size, isRead: false };
    else close(fd);
  }

  /** Begins to list the open directory. */
  #list(question: Question, fd: number, enter: boolean, torn: number): void {
    const listing = this.#tree.listingKnown(question.id);
    if (typeof listing === "number") {
      this.#notOpened(question.id, enter ? BELOW : "names", listing);
      close(fd);
      return;
    }
    const description = new DirectoryDescription(fd);
    this.#look = { question, fd, listing, description, children: enter ? [] : null, torn };
  }

  /** Lists a little more of a directory; all of it, when it changed all the time. */
  #lookFurther(look: Look): void {
    const { question, listing, description, children } = look;
    const isLast = look.torn >= MOST_TORN && question.tries >= LAST_TRY;
    do {
      const found = this.#tree.next(question.id, listing);
      if (found === null) {
        this.#looked(look, isLast);
        return;
      }
      description.add(found);
      for (const { id, type } of children === null ? [] : found) children!.push(type === DT_DIR ? -id : id);
    } while (isLast);
  }

  /** The listing is at its end: of a directory that changed meanwhile it begins anew, in the end a little later. */
  #looked(look: Look, isLast: boolean): void {
    const { question, fd, listing, description, children, torn } = look;
    // What it holds is not looked at: not even if it can be listed when it is asked about again.
    if (listing.failed !== 0 && children !== null) this.#notOpened(question.id, BELOW, listing.failed);
    if (!description.isTorn || isLast) {
      this.#ask(question, description.text(listing.failed), new Uint8Array(0));
      for (const child of children ?? []) this.#ahead.push(child);
      this.#endLook();
      return;
    }
    if (torn >= MOST_TORN) {
      question.tries++;
      question.dueAt = monotonic() + RETRY_AFTER;
      this.#again.push(question);
      // What was moved away is looked at where it is found by then.
      for (const child of children ?? []) this.#ahead.push(child);
      this.#endLook();
      return;
    }
    listing.close();
    this.#look = null;
    this.#list(question, fd, children !== null, torn + 1);
  }

  #endLook(): void {
    this.#look?.listing.close();
    if (this.#look !== null) close(this.#look.fd);
    this.#look = null;
  }

  /** Goes on with a part of a file. */
  #open(part: Part): void {
    const fd = this.#tree.openKnown(part.id);
    if (fd < 0) this.#notOpened(part.id, "all of it", fd);
    else this.#file = { ...part, fd };
  }

  #askBytesOf(file: Part & { fd: number }): void {
    const { id, fd, offset, end } = file;
    if (offset >= end) {
      close(fd);
      this.#file = null;
      return;
    }
    const hole = file.isRead ? 0 : holeAt(fd, offset, end);
    const question = newQuestion(id, offset, Math.max(hole, ZONE));
    if (hole > ZONE) this.#ask(question, HOLE, hashOf(Buffer.from(HOLE)));
    else this.#askBytes(question, fd);
    file.offset += question.length;
  }

  #askBytes(question: Question, fd: number): void {
    const count = readZone(fd, room.address, ZONE, question.offset);
    if (question.tries === 0) this.#result.bytes += Math.max(0, count);
    const told = count < 0 ? unreadable(zoneName(question.offset), count) : "";
    this.#ask(question, told, hashOf(count < 0 ? Buffer.from(told) : room.bytes.subarray(0, count)));
  }

  #ask(question: Question, told: string, hash: Uint8Array): void {
    if (!this.#outbound.bind(question.id)) return;
    question.told = told;
    const ticket = this.#asked.indexOf(null);
    this.#asked[ticket] = question;
    this.#inFlight++;
    const { frame } = this.#writer;
    frame.ticket = ticket;
    frame.id = question.id;
    // The last time a directory that changes must be listed in one go.
    frame.offset = question.offset < 0 ? question.tries : question.offset;
    frame.length = question.length;
    frame.data.set(question.offset < 0 ? hashOf(new TextEncoder().encode(told)) : hash);
    this.#outbound.send(FrameType.VERIFY);
  }
}

const newQuestion = (id: number, offset: number, length: number): Question => ({
  id,
  offset,
  length,
  told: "",
  tries: 0,
  dueAt: 0,
});

/** How many bytes from `offset` to `end` are a hole: whole zones, or all. On a file system that cannot tell, none (lseek(2)). */
function holeAt(fd: number, offset: number, end: number): number {
  const data = lseek(fd, offset, SEEK_DATA);
  if (data === -errnos.ENXIO || data >= end) return end - offset;
  return data < offset ? 0 : data - offset - ((data - offset) % ZONE);
}

/** Is there a hole, or the end, from `offset` on? */
export function isHole(fd: number, offset: number, length: number): boolean {
  return holeAt(fd, offset, offset + length) === length;
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
