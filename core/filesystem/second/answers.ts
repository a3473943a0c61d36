/** What SECOND says to its source: what it holds, how far it is, what is on its disk. */
import type { Marks } from "../../replication/marks.ts";
import { exportMarks } from "../../replication/marks_export.ts";
import { type Frame, FrameType } from "../../replication/operation.ts";
import { encodeHello, type FollowerHello, STREAM_VERSION } from "../stream/hello.ts";
import { StreamWriter } from "../stream/stream_buffers.ts";

/** What no source waits for is acknowledged once in this time, ms. */
const LATER = 20;

/** See the top of the file. */
export class Answers extends StreamWriter {
  #acknowledged = 0;
  /** When the next acknowledgement is due; 0: nothing was applied since the last. */
  #acknowledgeAt = 0;

  /** Begins a connection: who this is, and what its marks say. */
  hello(hello: FollowerHello, marks: Marks): void {
    this.frame.flags = STREAM_VERSION;
    this.frame.data.set(encodeHello(hello));
    this.#add(FrameType.HELLO);
    for (const chunk of exportMarks(marks)) {
      this.frame.data.set(chunk);
      this.#add(FrameType.MARKS);
    }
    this.#add(FrameType.MARKS_END);
  }

  /** This copy may be changed now. */
  ready(): void {
    this.#acknowledged = 0;
    this.frame.data.set(new Uint8Array(0));
    this.#add(FrameType.READY);
  }

  /** The source asked how far the copy is. */
  hurryAcknowledgement(): void {
    this.#acknowledgeAt = 1;
  }

  /** Says that the operations up to number `applied` were carried out: to a patient source with the next answer, or a little later. Returns when. */
  acknowledge(applied: number, now: number, isPatient: boolean): number {
    if (applied === this.#acknowledged) return Number.POSITIVE_INFINITY;
    if (this.#acknowledgeAt === 0) this.#acknowledgeAt = now + LATER;
    if (isPatient && now < this.#acknowledgeAt && this.queued === 0) return this.#acknowledgeAt;
    this.#acknowledgeAt = 0;
    this.#acknowledged = applied;
    this.frame.applied = applied;
    this.frame.inHands = applied;
    this.#add(FrameType.ACK);
    return Number.POSITIVE_INFINITY;
  }

  /** A sync of the application's ended with this errno. */
  synced(ticket: number, errno: number): void {
    this.frame.ticket = ticket;
    this.frame.errno = errno;
    this.#add(FrameType.SYNC_DONE);
  }

  /** The durable point is on this disk. */
  durable(ticket: number): void {
    this.frame.ticket = ticket;
    this.frame.errno = 0;
    this.#add(FrameType.DURABLE_DONE);
  }

  /** Everything is on this disk, and the daemon recorded it. */
  caughtUp(ticket: number): void {
    this.frame.ticket = ticket;
    this.#add(FrameType.CAUGHT_UP_DONE);
  }

  /** The operation `failed` could not be carried out. */
  failed(failed: Frame, errno: number, detail: string): void {
    this.frame.applied = failed.sequence;
    this.frame.errno = errno;
    this.frame.data.set(new TextEncoder().encode(detail));
    this.#add(FrameType.APPLY_FAILED);
  }

  #add(type: FrameType): void {
    this.frame.type = type;
    this.add();
  }
}
