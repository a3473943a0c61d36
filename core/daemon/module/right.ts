/**
 * This node's right to be heard for a module: it comes with a state that the failover core has reached, and does not outlast the daemon's word.
 * The guardian is told of it, so that it knows what a late daemon would endanger.
 */
import type { ModuleState } from "../../failover/types.ts";
import type { GuardianLink } from "../guardian/link.ts";
import { Lease } from "./lease.ts";
import type { Supervisor } from "./supervisor.ts";

/** States in which a node is the one, or one of those, that clients are for. */
const SERVING: ReadonlySet<ModuleState> = new Set(["PRIM", "ALONE", "UP"]);

/** See the top of the file. */
export class ModuleRight {
  readonly #lease: Lease;
  /** It lapsed while this node served, and that was told. */
  #isTold = false;

  /** `timeoutMs` is the heartbeat timeout that this node promises by, as it is now. */
  constructor(
    private readonly module: string,
    private readonly supervisor: Pick<Supervisor, "status" | "rightUntil">,
    private readonly guardian: Pick<GuardianLink, "settled" | "disarm">,
    timeoutMs: () => number,
  ) {
    this.#lease = new Lease(timeoutMs);
  }

  /** The visible state changed. */
  follow(): void {
    const { state, readiness } = this.supervisor.status();
    this.#lease.follow(SERVING.has(state));
    if (!SERVING.has(state)) this.#isTold = false;
    this.guardian.settled(this.module, readiness === "Ready" ? state : null);
    // At rest there is nothing that a late daemon could endanger.
    if (readiness === "NotReady" && (state === "STOP" || state === "WAIT")) this.guardian.disarm(this.module);
  }

  /**
   * Once a beat: for a while longer, if it still holds. True, once, when it has lapsed while this node serves: the guardian may not have been late
   * enough to fence, and whoever decides must hear of it, or this node would be silent for ever.
   */
  lapses(): boolean {
    if (this.#lease.renew() || this.#isTold || !SERVING.has(this.supervisor.status().state)) return false;
    this.#isTold = true;
    return true;
  }

  /** May clients be sent here, this instant? A daemon that slept past its lease says no until the core has decided anew. */
  get serves(): boolean {
    const { state, readiness } = this.supervisor.status();
    const { rightUntil } = this.supervisor;
    const hasEnded = rightUntil !== null && performance.now() >= rightUntil;
    return readiness === "Ready" && SERVING.has(state) && this.#lease.isHeld && !hasEnded;
  }
}
