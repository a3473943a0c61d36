/**
 * The other nodes of a module: whether each is alive, on which lans it is heard, and what it said last.
 */
import type { Beat, Cluster, ClusterNode, ModuleView, SignOfLife } from "../../cluster/cluster.ts";
import type { MembershipConfig } from "../../membership/membership.ts";
import type { NodeStatus } from "../engine.ts";
import { PeerWatch, silentStatus } from "./peer_watch.ts";

/** Timings in ms. */
type Timing = Pick<MembershipConfig, "interval" | "timeout" | "lans">;

/** Who is told of them. */
export interface PeersListener {
  /** A peer's word changed. */
  onView(peer: string, view: ModuleView): void;
  onLost(peer: string, cause: string): void;
  /** See `PeerListener`. */
  onPromise(peer: string, since: number, view: ModuleView): void;
  /** Something for the log. */
  onLan(text: string): void;
}

/** See the top of the file. */
export class ModulePeers {
  readonly #watches: ReadonlyMap<string, PeerWatch>;
  /** What waits until it is known whether the peer lives. */
  #onContact: (() => void) | null = null;
  #timing: Timing;

  constructor(
    /** The nodes that the module shares with this one, without it. */
    readonly nodes: readonly ClusterNode[],
    private readonly cluster: Cluster,
    incarnation: string,
    timing: Timing,
    listener: PeersListener,
  ) {
    this.#timing = timing;
    const watchOf = ({ name }: ClusterNode): PeerWatch =>
      new PeerWatch(
        { node: cluster.node, incarnation, peer: name, ...timing },
        {
          onPromise: (since, view) => listener.onPromise(name, since, view),
          onView: (view) => {
            listener.onView(name, view);
            this.#contactKnown();
          },
          onLost: (cause) => {
            listener.onLost(name, cause);
            this.#contactKnown();
          },
          onLan: (text) => listener.onLan(text),
        },
      );
    this.#watches = new Map(nodes.map((peer) => [peer.name, watchOf(peer)]));
  }

  /** Does the module count what comes on any lan of the cluster? */
  get hearsAllLans(): boolean {
    return this.cluster.lans.every((lan) => this.#timing.lans.includes(lan));
  }

  #contactKnown(): void {
    const waiting = this.#onContact;
    this.#onContact = null;
    waiting?.();
  }

  /** Calls once, when a peer is next heard of or lost. */
  onceContactKnown(then: () => void): void {
    this.#onContact = then;
  }

  get #all(): PeerWatch[] {
    return [...this.#watches.values()];
  }

  /** Is it known to be silent? */
  isLost(peer: string): boolean {
    return this.#watches.get(peer)?.isLost ?? true;
  }

  /** By node, what those say that live, on this lan where one is named; null while it is not known of each whether it does. */
  views(lan?: string): ReadonlyMap<string, ModuleView> | null {
    const views = new Map<string, ModuleView>();
    for (const [peer, watch] of this.#watches) {
      const { view } = watch;
      if (view === undefined) return null;
      if (view !== null && (lan === undefined || watch.isHeardOn(lan))) views.set(peer, view);
    }
    return views;
  }

  /** Does a peer say that it hears this node on that lan? */
  hearsUs(peer: string, lan: string): boolean {
    return this.#watches.get(peer)?.hearsUsOn(lan) ?? false;
  }

  /** Other timings from now on. */
  retime(timing: Timing): void {
    this.#timing = timing;
    for (const watch of this.#all) watch.retime(timing);
  }

  /** Once a beat: time passes. `now` is monotonic, ms. */
  tick(now: number): void {
    for (const watch of this.#all) watch.tick(now);
  }

  /** A datagram counted. */
  onSign(sign: SignOfLife): void {
    this.#watches.get(sign.from)?.onSign(sign);
  }

  /** A peer's newest beat, and what it says of this module. */
  onBeat(from: string, beat: Beat, view: ModuleView | "unusable" | null): void {
    this.#watches.get(from)?.onBeat(from, beat, view);
  }

  /** Bytes came over the replication link of the one peer, at most `ageMs` ago. */
  onStream(ageMs: number): void {
    for (const watch of this.#all) watch.onStream(ageMs);
  }

  /** By lan, the peers that are heard there. */
  hears(): Record<string, string[]> {
    const hears: Record<string, string[]> = {};
    for (const watch of this.#all)
      for (const [lan, nodes] of Object.entries(watch.hears()))
        hears[lan] = [...(hears[lan] ?? []), ...nodes];
    return hears;
  }

  /** Why the module cannot go on with these lans alone, or "": who is heard on others only would be taken for dead. */
  refusal(lans: readonly string[]): string {
    const heard = Object.keys(this.hears());
    if (heard.length === 0 || lans.some((lan) => heard.includes(lan))) return "";
    const names = this.nodes.map(({ name }) => name).join(", ");
    return `heartbeat.lans: ${names} would be taken for dead, heard on ${heard.join(", ")} only`;
  }

  /** `heartbeat.LAN` and its state; `heartbeat.LAN.NODE` where there may be several. */
  resources(several: boolean): ReturnType<PeerWatch["resources"]> {
    const of = (peer: string) => (resource: ReturnType<PeerWatch["resources"]>[number]) =>
      several ? { ...resource, name: `${resource.name}.${peer}` } : resource;
    return [...this.#watches].flatMap(([peer, watch]) => watch.resources().map(of(peer)));
  }

  /** What a peer last said, or UNKNOWN. */
  status(peer: string): NodeStatus {
    return this.#watches.get(peer)?.status() ?? silentStatus("");
  }
}
