/**
 * What one module knows of its peer: is it alive, on which lans, and what did it say last.
 */
import type { Beat, ModuleView, SignOfLife } from "../../cluster/cluster.ts";
import type { ReintegrationProgress } from "../../filesystem/control.ts";
import {
  createMembership,
  type Membership,
  type MembershipConfig,
  type MembershipEvent,
} from "../../membership/membership.ts";
import type { NodeStatus } from "../engine.ts";

/** Who is told of the peer. */
export interface PeerListener {
  /** The peer's word changed. */
  onView(view: ModuleView): void;
  onLost(cause: string): void;
  /**
   * The peer heard what this node sent at `since` (`performance.now()`), on any lan of the cluster, and will not be promoted before a timeout after
   * that.
   */
  onPromise(since: number, view: ModuleView): void;
  /** Something for the log. */
  onLan(text: string): void;
}

/** The status of a node that does not answer since that time (ISO). */
export function silentStatus(since: string): NodeStatus {
  const reason = "does not answer";
  return { state: "UNKNOWN", readiness: "NotReady", upToDate: null, reason, since, resources: {} };
}

/** See the top of the file. */
export class PeerWatch {
  #membership: Membership;
  #view: ModuleView | null = null;
  /** Its resources, and since when they are here what they are (ISO): beats carry no times. */
  #resources: NodeStatus["resources"] = {};
  /** The lans on which the peer says that it hears us. */
  #hearsUs: readonly string[] = [];
  #lastSign: SignOfLife | null = null;
  /** It lives, and nothing of the module runs there: for the module it is silent. */
  #isUnusable = false;
  #signs = 0;
  #lostSince = new Date().toISOString();

  constructor(
    private readonly config: MembershipConfig & { incarnation: string },
    private readonly listener: PeerListener,
  ) {
    this.#membership = createMembership(config);
  }

  /** Other timings, ms, from now on; with other lans, everything is heard anew. */
  retime(timing: Pick<MembershipConfig, "interval" | "timeout" | "lans">): void {
    const { interval, timeout, lans } = timing;
    const isSame = lans.join() === this.config.lans.join();
    // The judge reads them at each tick.
    Object.assign(this.config, { interval, timeout, lans });
    if (!isSame) this.#membership = createMembership(this.config);
  }

  /** Once a beat: time passes. `now` is monotonic, ms. */
  tick(now: number): void {
    this.#take(this.#membership.tick(now));
  }

  /** A datagram counted. */
  onSign(sign: SignOfLife): void {
    if (sign.from !== this.config.peer) return;
    this.#lastSign = sign;
    if (!this.#isUnusable) this.#heard(sign);
  }

  /** Bytes of the peer came over the replication link, at most `ageMs` ago: a sign of life too (trap 18). */
  onStream(ageMs: number): void {
    this.#take(this.#membership.sign(ageMs, performance.now()));
  }

  /** The peer's newest beat, and what it says of this module. */
  onBeat(from: string, beat: Beat, view: ModuleView | "unusable" | null): void {
    if (from !== this.config.peer) return;
    this.#isUnusable = view === "unusable";
    if (view === "unusable") return;
    const { node } = this.config;
    this.#hearsUs = Object.entries(beat.hears).flatMap(([lan, nodes]) => (nodes.includes(node) ? [lan] : []));
    if (this.#lastSign) this.#heard(this.#lastSign);
    if (!view) return;
    this.#takePromise(view);
    const essence = (said: ModuleView | null): string => JSON.stringify({ ...said, note: null });
    const changed = essence(view) !== essence(this.#view);
    this.#view = view;
    if (!changed) return;
    this.#noteResources(view.resources);
    this.listener.onView(view);
  }

  #noteResources(told: ModuleView["resources"]): void {
    const now = new Date().toISOString();
    this.#resources = Object.fromEntries(
      Object.entries(told).map(([name, state]) => {
        const known = this.#resources[name];
        return [name, known?.state === state ? known : { state, since: now }];
      }),
    );
  }

  #takePromise(view: ModuleView): void {
    const age = this.#lastSign?.heardAgeMs ?? null;
    if (view.promises === true && age !== null) this.listener.onPromise(performance.now() - age, view);
  }

  #heard({ lan, incarnation }: SignOfLife): void {
    const { events } = this.#membership.heard({
      lan,
      incarnation,
      // Its datagrams count only after it has echoed this start's challenge: see core/cluster/sealed_datagram.ts.
      echo: this.config.incarnation,
      sequence: ++this.#signs,
      hears: this.#hearsUs,
      at: performance.now(),
    });
    this.#take(events);
  }

  #take(events: readonly MembershipEvent[]): void {
    for (const event of events) {
      if (event.type === "peerLost") {
        this.#lostSince = new Date().toISOString();
        this.#view = null;
        this.listener.onLost(event.cause);
      } else if (event.type === "lan") this.listener.onLan(`${event.lan}: ${event.state}: ${event.cause}`);
    }
  }

  /** False when it is known to be silent on that lan, whatever it says on others. */
  isHeardOn(lan: string): boolean {
    const state = this.#membership.resources().find(({ name }) => name === `heartbeat.${lan}`)?.state;
    return state === undefined || state === "init" || this.#membership.hears().includes(lan);
  }

  /** Does it say that it hears this node on that lan? */
  hearsUsOn(lan: string): boolean {
    return this.#hearsUs.includes(lan);
  }

  /** By lan, the peer where it is heard. */
  hears(): Record<string, string[]> {
    return Object.fromEntries(this.#membership.hears().map((lan) => [lan, [this.config.peer]]));
  }

  /** `heartbeat.LAN` and its state. */
  resources(): ReturnType<Membership["resources"]> {
    return this.#membership.resources();
  }

  /** What the peer last said of the module, or null; undefined while it is not known whether it lives. */
  get view(): ModuleView | null | undefined {
    return this.#membership.alive === null ? undefined : this.#view;
  }

  /** Is it known to be silent? */
  get isLost(): boolean {
    return this.#membership.alive === false;
  }

  /** What the peer last said, or UNKNOWN. */
  status(): NodeStatus {
    const view = this.#view;
    if (!view) {
      const reason = this.#isUnusable ? "lives, and cannot use the module; its own status tells why" : null;
      return { ...silentStatus(this.#lostSince), ...(reason === null ? {} : { reason }) };
    }
    const { reason = "", since = "", remedy, reintegration } = view.note ?? {};
    const { on, ...work } = view.maintenance ?? { on: false, since: "", by: "" };
    return {
      state: view.state,
      readiness: view.readiness,
      upToDate: view.record.consistency === "uptodate",
      reason,
      since,
      ...(remedy ? { remedy } : {}),
      ...(on ? { maintenance: { since: work.since, by: work.by } } : {}),
      reintegration: (reintegration as ReintegrationProgress | undefined) ?? null,
      resources: this.#resources,
    };
  }
}
