/** What the simulated daemons tell each other of themselves, and what the real membership makes of it. */
import type { PeerView } from "../../core/failover/types.ts";
import {
  createMembership,
  type Heard,
  type Membership,
  type MembershipEvent,
} from "../../core/membership/membership.ts";
import { LANS } from "./failover_network.ts";
import type { SimNode } from "./failover_node.ts";
import type { World } from "./failover_world.ts";

/** Between two heartbeats, ms. */
export const INTERVAL = 200;
/** Of heartbeats, ms. */
export const TIMEOUT = 1000;

/** So many heartbeats are remembered. */
const KEPT = 200;

/** The heartbeats of one node. */
export class Heartbeats {
  private membership: Membership;
  private incarnation = "";
  private sequence = 0;
  /** When each of the last heartbeats was sent, by this node's clock: at its number, modulo how many are kept. */
  private readonly sentAt = new Float64Array(KEPT);
  private heard: PeerView | null = null;
  private fed: PeerView | null = null;

  constructor(
    private readonly node: SimNode,
    private readonly peerName: string,
    private readonly world: World,
    private says: PeerView,
  ) {
    this.membership = this.newMembership();
  }

  private newMembership(): Membership {
    return createMembership({
      node: this.node.name,
      incarnation: this.incarnation,
      peer: this.peerName,
      lans: LANS,
      interval: INTERVAL,
      timeout: this.world.isBroken("takes over before the other must have stopped") ? TIMEOUT / 2 : TIMEOUT,
    });
  }

  /** A daemon begins, and knows nothing yet. */
  reset(incarnation: string): void {
    this.incarnation = incarnation;
    this.membership = this.newMembership();
    this.heard = null;
    this.fed = null;
    this.sequence = 0;
  }

  /** The daemon has taken in its first event. */
  begin(): void {
    this.beat();
    this.tick();
  }

  /** What is told from here on. It stays the same object while it says the same: the peer is fed only what is new. */
  say(next: PeerView): void {
    const old = this.says;
    const same =
      old.state === next.state &&
      old.readiness === next.readiness &&
      old.record.generations === next.record.generations &&
      old.record.role === next.record.role &&
      old.record.consistency === next.record.consistency &&
      old.record.counter === next.record.counter &&
      old.record.peerCounter === next.record.peerCounter &&
      old.outdate === next.outdate &&
      old.caughtUp === next.caughtUp &&
      old.outdatedIn === next.outdatedIn &&
      old.swap === next.swap &&
      old.leaving === next.leaving &&
      old.promises === next.promises &&
      old.record.witness === next.record.witness &&
      old.resources === next.resources &&
      old.incarnation === next.incarnation;
    if (!same) this.says = next;
  }

  private beat(): void {
    this.node.address.hold();
    this.send();
    this.node.after("daemon", INTERVAL, () => this.beat());
  }

  /** One heartbeat on every lan. */
  send(): void {
    const hears = this.membership.hears();
    const echo = this.membership.echo();
    const last = this.membership.last();
    const peer = this.node.peer().heartbeats;
    for (const lan of LANS) {
      this.sequence++;
      const sequence = this.sequence;
      const { incarnation, says } = this;
      this.sentAt[sequence % KEPT] = this.node.time.now;
      for (const delay of this.world.network.datagram(lan, this.node.index))
        this.world.clock.after(delay, () =>
          peer.receive({ lan, incarnation, echo, sequence, hears }, says, last),
        );
    }
  }

  private receive(message: Heard, sent: PeerView, last: ReturnType<Membership["last"]>): void {
    if (!this.node.up || !this.node.daemonUp) return;
    this.node.parts.daemon.take(() => {
      message.at = this.node.time.now;
      const { fresh, events } = this.membership.heard(message);
      if (fresh) this.heard = sent;
      this.takePromise(sent, last);
      this.take(events);
      if (this.heard !== this.fed && this.membership.alive === true) {
        this.fed = this.heard;
        if (this.heard !== null) this.node.hear(this.heard);
      }
    });
  }

  /** A peer that promises has heard what this node sent: its patience began later than that. */
  private takePromise(says: PeerView, last: ReturnType<Membership["last"]>): void {
    if (!this.world.isMirror || last === null || says.promises !== true) return;
    if (!this.node.config.witness && says.swap === null) return;
    const isKept = last.incarnation === this.incarnation && last.sequence > this.sequence - KEPT;
    if (!isKept) return;
    const sent = this.sentAt[last.sequence % KEPT]!;
    const since = this.world.isBroken("counts a promise from when it was heard") ? this.node.time.now : sent;
    this.node.feed({ type: "promised", since });
  }

  private take(events: readonly MembershipEvent[]): void {
    for (const event of events) {
      if (event.type === "peerLost") {
        this.fed = null;
        this.node.hear(null, event.cause);
      }
    }
  }

  private tick(): void {
    const { data } = this.node;
    if (data.session !== null && data.session.lastMoved >= this.world.clock.now - 100)
      this.take(this.membership.sign(0, this.node.time.now));
    this.take(this.membership.tick(this.node.time.now));
    this.node.after("daemon", INTERVAL / 2, () => this.tick());
  }
}
