/** The source's end of the simulated wire: numbers what is sent and puts it on the link. */
import { Frame, type FrameType, frameBound } from "../../core/replication/operation.ts";
import type { SimNode } from "./replication_node.ts";
import type { Link } from "./replication_pair.ts";

/** A name as the wire carries it. */
export const nameBytes = (name: string): Uint8Array => new TextEncoder().encode(name);

/** In the model a block's content is one number: it travels as such. */
export const blockBytes = (values: number[]): Uint8Array => new Uint8Array(Float64Array.from(values).buffer);

/** What a source sends, on whatever link there is: none, and it goes nowhere. */
export class SourceStream {
  link: Link | null = null;
  /** What `send` sends. */
  readonly frame = new Frame();
  readonly #node: SimNode;
  /** Of this connection: the sequence that was sent last, and the last that the peer has applied. */
  last = 0;
  applied = 0;

  constructor(node: SimNode) {
    this.#node = node;
  }

  connect(link: Link): void {
    this.link = link;
    this.last = this.applied = 0;
  }

  /** The peer's word. False: it acknowledges what was never sent. */
  acknowledge(applied: number, inHands: number): boolean {
    if (applied > inHands || inHands > this.last) return false;
    this.applied = Math.max(this.applied, applied);
    return true;
  }

  send(type: FrameType): void {
    if (this.link === null) return;
    const { frame } = this;
    frame.type = type;
    const bytes = new Uint8Array(frameBound(frame.name.length + frame.toName.length + frame.data.length));
    frame.sequence = ++this.last;
    const end = frame.encode(bytes, 0);
    this.link.toTarget.push(bytes.subarray(0, end));
    if (this.#node.mutant === "clearsAtSend") {
      this.#node.marks.beginPoint();
      this.#node.marks.confirmPoint();
    }
  }
}
