/**
 * PRIM: how it knows that its follower is there. The follower is pinged, so that it knows the same of PRIM; and one that owes an answer for
 * longer than the time-out is given up.
 */
import type { Link } from "../stream/link.ts";
import type { Outbound } from "./outbound.ts";

const PING_INTERVAL = 1000;
/** A link may break, or the peer's daemon end what hangs there, just before the time is over. */
const NEARLY = 0.8;

/** See the top of the file. */
export class FollowerPulse {
  readonly #link: Link;
  readonly #outbound: Outbound;
  readonly #timeoutMs: number;
  readonly #ping: () => void;
  #silentSince = 0;
  #sentAt = 0;

  constructor(link: Link, outbound: Outbound, timeoutMs: number, ping: () => void) {
    this.#link = link;
    this.#outbound = outbound;
    this.#timeoutMs = timeoutMs;
    this.#ping = ping;
  }

  /** The follower answered something that it owed. */
  heard(): void {
    this.#silentSince = 0;
  }

  /** It has let the application wait for an answer for as long as one waits for it, or nearly. */
  hangs(now: number): boolean {
    return this.#silentSince > 0 && now - this.#silentSince > NEARLY * this.#timeoutMs;
  }

  /** Pings, unless the follower `isNew`, and closes the link of one that does not answer in time. Returns when to look again. */
  watch(now: number, isNew: boolean): number {
    const link = this.#link;
    if (!link.isOpen) return link.proofDeadline;
    if (now - this.#sentAt >= PING_INTERVAL && !isNew) {
      this.#sentAt = now;
      this.#ping();
    }
    const outbound = this.#outbound;
    const owed =
      outbound.streaming && (outbound.acknowledged < outbound.sequence || outbound.settlement.outstanding);
    // A target that copies may be long on one sync; the application does not wait for it then.
    if (!owed || outbound.alone) this.#silentSince = 0;
    else if (this.#silentSince === 0) this.#silentSince = now;
    else if (now - this.#silentSince > this.#timeoutMs)
      link.close(`the peer has acknowledged nothing for ${this.#timeoutMs} ms`);
    return now + Math.min(PING_INTERVAL, this.#timeoutMs / 4);
  }
}
