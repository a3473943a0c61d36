/**
 * One connection to the peer: non-blocking, proved, sealed.
 *
 * The owner polls `fd` for `events()` and calls `onReady`. What is to be sent is handed over as plaintext only when the
 * last frame has left (`isIdle`): until then operations collect into one bigger frame, so a busy link seals few large
 * frames and an idle one sends each operation at once.
 */
import {
  closeSocket,
  connectError,
  EAGAIN,
  POLLIN,
  POLLOUT,
  pinned,
  receive,
  send,
  tuneConnection,
} from "../../platform/linux/sockets.ts";
import { FRAME_HEADER, FRAME_TAG, FrameOpener, FrameSealer, MAX_FRAME } from "./frames.ts";
import { Handshake, type Side } from "./handshake.ts";

/** Time from the first byte to the peer's proof, ms. */
const PROOF_TIMEOUT = 3000;
/** More than any message of the handshake. */
const STRANGER_SPACE = 256;
const FRAME_SPACE = MAX_FRAME + FRAME_HEADER + FRAME_TAG;

/** What a link tells its owner. `onFrame`'s bytes are good for the call only. */
export interface LinkOwner {
  onOpen(link: Link): void;
  onFrame(link: Link, plain: Uint8Array): void;
  /** Also called when the peer never proved itself. */
  onClosed(link: Link, why: string): void;
}

/** What is taken at once in a pause, bytes: together more than a sixteenth of the room that the kernel may give (tcp_rmem in tcp(7)). */
const SIP = 1 << 20;
/** More than what comes of that. */
export const MOST_SIPPED = SIP + 2 * FRAME_SPACE;

/** A connection to the peer. */
export class Link {
  readonly fd: number;
  readonly side: Side;
  /** Where to, for people. */
  readonly name: string;
  /** Until when the peer must have proved itself, in the owner's clock. */
  readonly proofDeadline: number;
  /** True once both sides have proved themselves. */
  isOpen = false;
  isClosed = false;
  /** Its owner wants nothing for the time being: what was received is not dealt with yet. */
  isPaused = false;
  /** When the peer was last heard, in the owner's clock. */
  heardAt: number;
  /** Payload bytes, sealed or opened so far. */
  bytesSent = 0;
  bytesReceived = 0;
  /** Who is told. May change hands once the peer has proved itself. */
  owner: LinkOwner;
  readonly #handshake: Handshake;
  /** Small until the peer has proved itself: strangers are many. */
  #out = pinned(STRANGER_SPACE);
  #in = pinned(STRANGER_SPACE);
  #connecting: boolean;
  #outFrom = 0;
  #outTo = 0;
  #inFrom = 0;
  #inTo = 0;
  #sealer: FrameSealer | null = null;
  #opener: FrameOpener | null = null;

  /** `fd` belongs to the link from now on. `timeoutMs`: how long the kernel lets sent bytes stay unacknowledged. */
  constructor(
    fd: number,
    side: Side,
    name: string,
    key: Uint8Array,
    module: string,
    timeoutMs: number,
    now: number,
    owner: LinkOwner,
  ) {
    this.fd = fd;
    this.side = side;
    this.name = name;
    this.heardAt = now;
    this.proofDeadline = now + PROOF_TIMEOUT;
    this.owner = owner;
    this.#connecting = side === "dialer";
    this.#handshake = new Handshake(side, key, module);
    tuneConnection(fd, timeoutMs);
  }

  /** POLL* bits to wait for. */
  events(): number {
    if (this.isPaused) return this.#outTo > this.#outFrom ? POLLOUT : 0;
    return this.#connecting ? POLLOUT : this.#outTo > this.#outFrom ? POLLIN | POLLOUT : POLLIN;
  }

  /** True when a frame can be given to `sendFrame`. */
  isIdle(): boolean {
    return this.isOpen && this.#outTo === this.#outFrom;
  }

  /** Seals and sends up to MAX_FRAME bytes. Only when `isIdle`. */
  sendFrame(plain: Uint8Array): void {
    this.bytesSent += plain.length;
    this.#outFrom = 0;
    this.#outTo = this.#sealer!.seal(plain, this.#out.bytes, 0);
    this.#flush();
  }

  /** Goes on after poll(2). */
  onReady(ready: number, now: number): void {
    if (this.isClosed) return;
    if (this.#connecting) {
      const error = connectError(this.fd);
      if (error !== 0) {
        this.close(`cannot connect: errno ${error}`);
        return;
      }
      this.#connecting = false;
      this.#raw(this.#handshake.opening());
      return;
    }
    if (ready & POLLOUT) this.#flush();
    if (ready & ~POLLOUT && !this.isPaused) this.#receive(now);
  }

  /** Ends a pause, which counts as the peer's silence no more than what it has sent since. */
  goOn(now: number): void {
    this.isPaused = false;
    this.heardAt = now;
    try {
      this.#openFrames();
    } catch (error) {
      this.close(error instanceof Error ? error.message : String(error));
    }
  }

  /**
   * In a pause: takes a little of what waits. A window that stays shut for too long counts as silence, see TCP_USER_TIMEOUT in tcp(7), and the
   * kernel opens it again only when a sixteenth of its room is free.
   */
  sip(now: number): void {
    const enough = this.bytesReceived + SIP;
    for (let before = -1; this.bytesReceived < enough && this.bytesReceived !== before; ) {
      before = this.bytesReceived;
      this.goOn(now);
      if (!this.isClosed) this.#receive(now);
      if (this.isClosed) return;
    }
  }

  /** Closes and tells the owner, once. */
  close(why: string): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.isOpen = false;
    closeSocket(this.fd);
    this.owner.onClosed(this, why);
  }

  #raw(bytes: Uint8Array): void {
    this.#out.bytes.set(bytes, this.#outTo);
    this.#outTo += bytes.length;
    this.#flush();
  }

  #flush(): void {
    while (this.#outFrom < this.#outTo) {
      const count = send(this.fd, this.#out, this.#outFrom, this.#outTo - this.#outFrom);
      if (count === -EAGAIN) return;
      if (count < 0) {
        this.close(`sending failed: errno ${-count}`);
        return;
      }
      this.#outFrom += count;
    }
    this.#outFrom = 0;
    this.#outTo = 0;
  }

  #receive(now: number): void {
    if (this.#inFrom > 0 && this.#inTo + FRAME_SPACE > this.#in.bytes.length) {
      this.#in.bytes.copyWithin(0, this.#inFrom, this.#inTo);
      this.#inTo -= this.#inFrom;
      this.#inFrom = 0;
    }
    // Before its proof a stranger gets no more room than the proof needs.
    const room = this.isOpen
      ? this.#in.bytes.length - this.#inTo
      : this.#handshake.expects - (this.#inTo - this.#inFrom);
    const count = receive(this.fd, this.#in, this.#inTo, room);
    if (count === -EAGAIN) return;
    if (count === 0) {
      this.close("the peer closed the connection");
      return;
    }
    if (count < 0) {
      this.close(`receiving failed: errno ${-count}`);
      return;
    }
    this.#inTo += count;
    this.heardAt = now;
    try {
      if (this.isOpen) this.#openFrames();
      else this.#prove();
    } catch (error) {
      this.close(error instanceof Error ? error.message : String(error));
    }
  }

  #prove(): void {
    const handshake = this.#handshake;
    if (this.#inTo - this.#inFrom < handshake.expects) return;
    const answer = handshake.take(this.#in.bytes.slice(this.#inFrom, this.#inTo));
    this.#inFrom = 0;
    this.#inTo = 0;
    if (answer.length > 0) this.#raw(answer);
    if (handshake.keys === null || this.isClosed) return;
    this.#sealer = new FrameSealer(handshake.keys.send);
    this.#opener = new FrameOpener(handshake.keys.receive);
    const unsent = this.#out.bytes.slice(this.#outFrom, this.#outTo);
    this.#in = pinned(2 * FRAME_SPACE);
    this.#out = pinned(FRAME_SPACE);
    this.#out.bytes.set(unsent);
    this.#outFrom = 0;
    this.#outTo = unsent.length;
    this.isOpen = true;
    this.owner.onOpen(this);
  }

  #openFrames(): void {
    while (!this.isClosed && !this.isPaused && this.#inTo - this.#inFrom >= FRAME_HEADER) {
      const size = FrameOpener.size(this.#in.bytes, this.#inFrom);
      if (this.#inTo - this.#inFrom < size) break;
      const plain = this.#opener!.open(this.#in.bytes.subarray(this.#inFrom, this.#inFrom + size));
      this.#inFrom += size;
      this.bytesReceived += plain.length;
      this.owner.onFrame(this, plain);
    }
    if (this.#inFrom === this.#inTo) {
      this.#inFrom = 0;
      this.#inTo = 0;
    }
  }
}
