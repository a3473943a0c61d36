/**
 * PRIM's stream to the peer, whatever its operations mean: numbered in order, and each object introduced by its place before its
 * first use in a connection. An object without a name that the peer never met cannot be introduced.
 */
import { IdentitySet } from "../../replication/identity_set.ts";
import { Level, type Marks } from "../../replication/marks.ts";
import { nameBytes } from "../../replication/name_text.ts";
import { FrameType } from "../../replication/operation.ts";
import type { KnownPlaces } from "../objects/known_places.ts";
import type { StreamWriter } from "./stream_buffers.ts";

/** Files that the peer keeps in mind at once. */
const MOST_FILES = 1 << 13;

/** See the top of the file. A base class: an operation costs no call through another object. */
export class OrderedStream {
  /** Number of the last operation told. */
  sequence = 0;
  /** Everything up to here is in the peer's hands, or needs not be. */
  acknowledged = 0;
  /** Everything up to here is applied by the peer, whatever its copy is worth yet. */
  applied = 0;
  /** The application goes on without the peer's word: its operations leave together. */
  isPatient = false;
  /** An operation concerns an object whose name nobody told: the stream cannot go on like this. */
  unreachable: (id: number) => void = () => {};
  readonly #bound = new IdentitySet();
  /** Files that the peer knows, in the order of their introduction. One that makes room is introduced again when it is used again. */
  readonly #files = new Float64Array(MOST_FILES);
  #nextFile = 0;
  /** Lost their last name while the peer did not know them: there is nothing to replicate them to. */
  readonly #nameless = new Set<number>();

  constructor(
    protected readonly marks: Marks,
    protected readonly writer: StreamWriter,
    protected readonly places: KnownPlaces,
  ) {}

  /** A connection begins or ends: the peer knows no object. */
  reset(): void {
    this.#bound.clear();
    this.#files.fill(0);
  }

  /** Introduces a replicated directory, the one with this index in the configuration. */
  root(id: number, index: number): void {
    const { frame } = this.writer;
    frame.id = id;
    frame.ticket = index;
    this.send(FrameType.ROOT);
    this.#bound.add(id);
  }

  /** The peer knows this object with the next frame. */
  markBound(id: number): void {
    this.#bound.add(id);
    this.#introduced = id;
  }
  #introduced = 0;

  /** After the frame that introduced an object. A directory stays: others are found through it. */
  #makeRoom(): void {
    const id = this.#introduced;
    this.#introduced = 0;
    if (!this.places.isFile(id)) return;
    const at = this.#nextFile++ % MOST_FILES;
    const old = this.#files[at]!;
    this.#files[at] = id;
    // What has no name any more is reached by its descriptor only.
    if (old === 0 || old === id || !this.places.isFile(old) || !this.#bound.delete(old)) return;
    this.writer.frame.id = old;
    this.tell(FrameType.FORGET);
  }

  /** Numbers the writer's frame and queues it; it leaves at once. Returns its number. */
  send(type: FrameType): number {
    this.writer.hurry();
    return this.#queue(type);
  }

  /** The same for an operation of the application's, which may leave a little later with the next ones. */
  protected tell(type: FrameType): number {
    if (!this.isPatient) this.writer.hurry();
    return this.#queue(type);
  }

  #queue(type: FrameType): number {
    const { frame } = this.writer;
    frame.type = type;
    const sequence = ++this.sequence;
    frame.sequence = sequence;
    this.writer.add();
    if (this.#introduced !== 0) this.#makeRoom();
    return sequence;
  }

  /** Introduces an object, and its directories first. False when it has no known place. */
  bind(id: number): boolean {
    if (this.#bound.has(id)) return true;
    const place = this.places.get(id);
    return place !== null && this.bindAt(id, place.parent, nameBytes(place.name));
  }

  /** The same by this name: of several hard links, the peer may not have the one that is remembered here. */
  protected bindAt(id: number, parent: number, name: Uint8Array): boolean {
    if (this.#bound.has(id)) return true;
    if (parent === 0 || !this.bind(parent)) return false;
    const { frame } = this.writer;
    frame.id = id;
    frame.parent = parent;
    frame.mode = 0;
    frame.name.set(name);
    this.markBound(id);
    this.tell(FrameType.BIND);
    return true;
  }

  /** The same by a name that it has now: what it was introduced by may be gone, and the peer may have to make it anew under its name. */
  bindAgain(id: number): boolean {
    if (this.places.parentOf(id) > 0) this.#bound.delete(id);
    return this.bind(id);
  }

  /** Is the object introduced, now if not before? False: it has no name that the peer could find it by. */
  protected knows(id: number): boolean {
    if (this.bind(id)) return true;
    if (!this.#nameless.has(id)) this.cannotName(id);
    return false;
  }

  /** The peer must hear of it and cannot: the next reintegration looks for it in the whole tree. */
  protected cannotName(id: number): void {
    this.marks.touchAttributes(id, Level.TOUCHED);
    this.unreachable(id);
  }

  /** It has no name (any more): the peer cannot meet it. */
  takeNameless(id: number): void {
    this.#nameless.add(id);
  }

  protected named(id: number): void {
    this.#nameless.delete(id);
  }

  protected lostLastName(id: number, directory: boolean): void {
    this.marks.lapsed(id);
    if (directory) this.#bound.delete(id);
    else if (!this.#bound.has(id)) this.#nameless.add(id);
  }

  /** Nobody uses it any more. True when the peer knew it. */
  protected unbind(id: number): boolean {
    this.#nameless.delete(id);
    return this.#bound.delete(id);
  }
}
