/**
 * SECOND: what was received is dealt with for as long as one turn may take. What is left waits for the next turn, and the link with it, so
 * that nothing else of this node waits long for a peer that sends much.
 */
import { messageOf } from "../host.ts";
import { monotonic } from "../loop/poll_loop.ts";
import { type Link, MOST_SIPPED } from "../stream/link.ts";
import type { StreamReader } from "../stream/stream_buffers.ts";
import type { TargetCopy } from "./reintegration/target_copy.ts";

/** What was received is dealt with for so long in one turn, ms. */
const SLICE = 8;

/** So often a little is received while a directory is made, in the time after which a connection in which nothing moves is given up. */
const SIPS = 8;

/** Deals with the frame that the reader holds. */
export interface FrameTaker {
  take(link: Link): void;
  /** More of a directory was made, with this result: 0 or -errno. */
  made(link: Link, result: number): void;
}

/** See the top of the file. */
export class Intake {
  readonly #reader: StreamReader;
  readonly #copy: TargetCopy;
  readonly #taker: FrameTaker;
  readonly #sipEvery: number;
  /** When the present turn should end; 0: nothing was received in it yet. */
  #turnEnds = 0;

  /** `timeoutMs`: after which a connection in which nothing moves is given up. */
  constructor(reader: StreamReader, copy: TargetCopy, taker: FrameTaker, timeoutMs: number) {
    this.#reader = reader;
    this.#copy = copy;
    this.#taker = taker;
    this.#sipEvery = timeoutMs / SIPS;
  }

  /** Takes what a sealed frame held. */
  take(link: Link, plain: Uint8Array): void {
    this.#reader.push(plain);
    if (this.#turnEnds === 0) this.#turnEnds = monotonic() + SLICE;
    this.#takeAll(link);
    // However long that took: who was busy heard nothing meanwhile, and must not call it silence.
    link.heardAt = monotonic();
  }

  /** Once a turn: goes on with what waited. */
  goOn(link: Link, now: number): void {
    if (link.isPaused) {
      this.#turnEnds = monotonic() + SLICE;
      // A link closes itself when its owner fails while it hands over; here the owner began.
      try {
        if (this.#takeAll(link)) link.goOn(now);
      } catch (error) {
        link.close(messageOf(error));
      }
    }
    if (!link.isClosed && this.#copy.isBusy) this.#sip(link, now);
    this.#turnEnds = 0;
  }

  /** Of a stream that waits for a directory to be made, maybe for long, takes a little now and then, while there is room. */
  #sip(link: Link, now: number): void {
    if (now - link.heardAt < this.#sipEvery || this.#reader.room < MOST_SIPPED) return;
    link.sip(now);
    link.isPaused = this.#copy.isBusy;
  }

  /** Deals with what was received. False: the turn is over, and the link is paused; or it is closed. */
  #takeAll(link: Link): boolean {
    for (;;) {
      if (this.#copy.isBusy) this.#taker.made(link, this.#copy.goOn(this.#turnEnds));
      if (link.isClosed) return false;
      if (this.#copy.isBusy || monotonic() > this.#turnEnds) {
        link.isPaused = true;
        return false;
      }
      if (!this.#reader.next()) return true;
      this.#taker.take(link);
      if (link.isClosed) return false;
    }
  }
}
