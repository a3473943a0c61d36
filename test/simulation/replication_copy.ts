/** The source's reintegration in the simulator: sends what the real `Reintegration` asks for, piece by piece. */
import { BLOCK_BYTES } from "../../core/replication/marks.ts";
import { type Announced, DT_DIR } from "../../core/replication/names.ts";
import { FrameType } from "../../core/replication/operation.ts";
import { entryBytes, putEntry } from "../../core/replication/packed.ts";
import { Reintegration } from "../../core/replication/reintegration.ts";
import { TOP } from "./model_file_system.ts";
import type { SimNode } from "./replication_node.ts";
import { blockBytes, nameBytes, type SourceStream } from "./replication_stream.ts";
import type { World } from "./replication_world.ts";

/** Blocks that one DATA frame carries at most. */
const MOST_BLOCKS = 700;

/** One reintegration. */
export class SourceCopy {
  readonly reintegration: Reintegration;
  readonly #node: SimNode;
  readonly #world: World;
  readonly #stream: SourceStream;
  #rangesSent = false;

  constructor(node: SimNode, world: World, stream: SourceStream, full: boolean) {
    this.#node = node;
    this.#world = world;
    this.#stream = stream;
    const { fs, marks } = node;
    const tree = {
      parentOf: (id: number) => fs.placeOf(id).parent,
      nameOf: (id: number) => fs.placeOf(id).name,
    };
    this.reintegration = new Reintegration(marks, tree, [TOP], full);
  }

  /** The target lacks the object altogether. */
  needed(id: number): void {
    const inode = this.#node.fs.find(id);
    if (inode !== null) this.reintegration.needed(id, inode.type === DT_DIR);
  }

  /** Sends the next piece. Returns what the step was. */
  step(): ReturnType<Reintegration["next"]>["do"] {
    const { reintegration } = this;
    this.#announce();
    const step = reintegration.next();
    if (step.do === "list") {
      if (this.#node.fs.find(step.directory) === null) reintegration.gone(step.directory);
      else reintegration.listed(step.directory, this.#node.fs.list(step.directory));
    } else if (step.do === "names") this.#sendNames(step.directory);
    else if (step.do === "object") this.#sendObject(step.id);
    else if (step.do === "data") this.#sendData(step.id);
    return step.do;
  }

  /** After a live change of names: tells what it moved, and sends again what it made stale. */
  namesChanged(): void {
    this.#announce();
    for (const directory of this.reintegration.resend.splice(0)) this.#sendNames(directory);
  }

  /** Tells where the dirty objects are, before anything that the target might look for. */
  #announce(): void {
    const { frame } = this.#stream;
    const announced: Announced[] = this.reintegration.takeAnnounced();
    if (announced.length > 0 && !this.#rangesSent) {
      this.#rangesSent = true;
      for (const { from, to } of this.reintegration.ranges) {
        frame.id = from;
        frame.parent = to;
        this.#stream.send(FrameType.PLACE_RANGE);
      }
    }
    for (const { id, parent, name, dirty } of announced) {
      frame.id = id;
      frame.parent = parent;
      frame.name.set(nameBytes(parent === 0 ? "-" : name));
      frame.flags = dirty ? 1 : 0;
      this.#stream.send(FrameType.PLACE);
    }
    if (announced.length > 0) this.#stream.send(FrameType.PLACES_END);
  }

  /** The names of a directory as they are at this point of the stream. */
  #sendNames(directory: number): void {
    const { frame } = this.#stream;
    const entries = this.#node.fs.list(directory);
    const packed = new Uint8Array(entries.reduce((sum, { name }) => sum + entryBytes(name.length), 0));
    let at = 0;
    for (const { id, type, name, hasOthers } of entries)
      at = putEntry(packed, at, id, type, nameBytes(name), hasOthers);
    frame.id = directory;
    frame.data.set(packed);
    this.#stream.send(FrameType.DIR_NAMES);
    frame.parentSeconds = this.#node.fs.directory(directory).mtime;
    this.#stream.send(FrameType.DIR_END);
    this.reintegration.namesSent(directory, entries);
  }

  #sendObject(id: number): void {
    const { frame } = this.#stream;
    const inode = this.#node.fs.find(id);
    if (inode === null) {
      this.reintegration.gone(id);
      return;
    }
    frame.id = id;
    frame.mode = inode.mode;
    frame.size = inode.size * BLOCK_BYTES;
    frame.offset = this.#node.marks.worthlessFrom(id);
    frame.data.set(new Uint8Array(0));
    this.#stream.send(FrameType.OBJECT);
    this.reintegration.objectSent(id);
    this.#world.copiedObject(id);
  }

  #sendData(id: number): void {
    const { frame } = this.#stream;
    const { fs, marks } = this.#node;
    const inode = fs.find(id);
    if (inode === null) {
      this.reintegration.gone(id);
      return;
    }
    const size = inode.size * BLOCK_BYTES;
    const range = marks.nextDirty(id, size, MOST_BLOCKS * BLOCK_BYTES);
    if (range === null) {
      frame.id = id;
      this.#stream.send(FrameType.OBJECT_END);
      this.reintegration.objectDone(id);
      return;
    }
    const first = range.offset / BLOCK_BYTES;
    const blocks = [...Array(range.length / BLOCK_BYTES).keys()].map((index) => first + index);
    this.#world.copiedBlocks(id, blocks);
    frame.id = id;
    frame.offset = range.offset;
    frame.data.set(blockBytes(blocks.map((block) => inode.blocks.get(block) ?? 0)));
    this.#stream.send(FrameType.DATA);
    marks.copiedData(id, range, size);
  }
}
