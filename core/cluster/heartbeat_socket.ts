/**
 * Heartbeats over UDP: one socket for each lan, bound to this node's address there.
 *
 * A lan that cannot be bound or sent to is a lan without heartbeats, never an error of the node: an interface may be
 * down at boot and come later, so binding is tried again for ever.
 */
import { type Beat, BeatAssembler, encodeBeat } from "./beat.ts";
import type { Cluster } from "./identity.ts";
import { type DropReason, SealedChannel } from "./sealed_datagram.ts";

/** A peer was heard: one datagram that counts. */
export interface SignOfLife {
  from: string;
  lan: string;
  /** The sender's daemon, new with each start. */
  incarnation: string;
  /** Age, on our clock, of the newest of our datagrams that the sender had heard when it sent this; null: none. */
  heardAgeMs: number | null;
}

/** Who listens to heartbeats. Neither may throw. */
export interface HeartbeatListener {
  /** For each datagram that counts, before `onBeat`. */
  onSign(sign: SignOfLife): void;
  /** What a peer says; only the newest, once. */
  onBeat(from: string, incarnation: string, beat: Beat): void;
}

/** Datagrams that did not count, by reason, and sends that failed: for `cluster state` and the doctor. */
export type HeartbeatCounters = Record<DropReason | "unreadable" | "unsent", number>;

/** Heartbeats are sent to the port after HTTPS. */
export const heartbeatPort = (port: number): number => port + 1;

const BIND_AGAIN_MS = 500;
/** A replayed datagram can make us answer; not more often than this, for each peer and lan. */
const ANSWER_INTERVAL_MS = 20;

type Socket = Bun.udp.Socket<"buffer">;

/** The sockets of one daemon. */
export class HeartbeatSockets {
  readonly counters: HeartbeatCounters = {
    malformed: 0,
    foreign: 0,
    forged: 0,
    misdirected: 0,
    replayed: 0,
    stranger: 0,
    unreadable: 0,
    unsent: 0,
  };
  readonly #cluster: Cluster;
  readonly #listener: HeartbeatListener;
  readonly #channel: SealedChannel;
  readonly #sockets = new Map<string, Socket>();
  readonly #troubles = new Map<string, string>();
  readonly #assemblers = new Map<string, BeatAssembler>();
  readonly #answered = new Map<string, number>();
  /** By lan, then peer: when it was last heard there. */
  readonly #heardAt = new Map<string, Map<string, number>>();
  readonly #room: number;
  #pieces: readonly Uint8Array[] = [new Uint8Array(0)];
  #number = 0;
  #closed = false;
  #retry: ReturnType<typeof setTimeout> | null = null;

  constructor(cluster: Cluster, listener: HeartbeatListener) {
    this.#cluster = cluster;
    this.#listener = listener;
    const peers = cluster.peers.map((peer) => peer.name);
    this.#channel = new SealedChannel({
      key: cluster.keys.heartbeat,
      label: cluster.keys.label,
      node: cluster.node,
      peers,
      now: () => performance.now(),
    });
    for (const peer of peers) this.#assemblers.set(peer, new BeatAssembler());
    for (const lan of cluster.lans) this.#heardAt.set(lan, new Map());
    this.#room = Math.min(
      ...peers.flatMap((peer) => cluster.lans.map((lan) => this.#channel.room(peer, lan))),
      1200,
    );
  }

  /** This start of the daemon, as peers see it. */
  get incarnation(): string {
    return this.#channel.incarnation;
  }

  /** Lans that have no socket at present, with the reason. */
  get troubles(): ReadonlyMap<string, string> {
    return this.#troubles;
  }

  /** By lan, the peers heard there within the last `withinMs`: for people; who is alive is the membership's to say. */
  hears(withinMs: number): Record<string, string[]> {
    const since = performance.now() - withinMs;
    const heard = (lan: string) => [...(this.#heardAt.get(lan) ?? [])].filter(([, at]) => at >= since);
    return Object.fromEntries(this.#cluster.lans.map((lan) => [lan, heard(lan).map(([peer]) => peer)]));
  }

  /** Binds every lan that can be bound now; the others are tried again until `close`. */
  async open(): Promise<void> {
    const own = this.#cluster.nodes[this.#cluster.node]!;
    for (const lan of this.#cluster.lans) {
      if (this.#sockets.has(lan)) continue;
      try {
        const socket = await this.#bind(lan, own.addresses[lan]!.bind);
        if (this.#closed) return socket.close();
        this.#sockets.set(lan, socket);
        this.#troubles.delete(lan);
      } catch (error) {
        this.#troubles.set(lan, error instanceof Error ? error.message : String(error));
      }
    }
    if (this.#troubles.size > 0 && !this.#closed)
      this.#retry = setTimeout(() => void this.open(), BIND_AGAIN_MS);
  }

  /** Tells every peer on every lan, now. Returns what had no room in it, in words, or "". */
  send(beat: Beat): string {
    const { pieces, lacks } = encodeBeat(beat, ++this.#number, this.#room);
    this.#pieces = pieces;
    for (const lan of this.#sockets.keys())
      for (const peer of this.#cluster.peers) this.#sendTo(peer.name, lan);
    return lacks;
  }

  /** Closes all sockets; nothing is sent or heard any more. */
  close(): void {
    this.#closed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    for (const socket of this.#sockets.values()) socket.close();
    this.#sockets.clear();
  }

  async #bind(lan: string, address: string): Promise<Socket> {
    return await Bun.udpSocket({
      hostname: address,
      port: heartbeatPort(this.#cluster.port),
      socket: {
        data: (_socket, bytes) => this.#receive(lan, bytes),
        // An ICMP error of an earlier datagram, such as "port unreachable": the peer's silence says the same.
        error: () => {
          this.counters.unsent++;
        },
      },
    });
  }

  #sendTo(to: string, lan: string, echo?: Uint8Array): void {
    const socket = this.#sockets.get(lan);
    const peer = this.#cluster.peers.find((node) => node.name === to);
    if (socket === undefined || peer === undefined) return;
    for (const piece of this.#pieces) {
      try {
        const sent = socket.send(
          this.#channel.seal(to, lan, piece, echo),
          heartbeatPort(this.#cluster.port),
          peer.addresses[lan]!.address,
        );
        if (!sent) this.counters.unsent++;
      } catch {
        // The link is down or has no route: heartbeats are repeated, and their absence is what counts.
        this.counters.unsent++;
      }
    }
  }

  #receive(lan: string, bytes: Uint8Array): void {
    const result = this.#channel.open(bytes, lan);
    if (!result.ok) {
      this.counters[result.reason]++;
      if (result.answer !== null) this.#answer(result.answer.to, lan, result.answer.echo);
      return;
    }
    const { from, incarnation, heardAgeMs, established, body } = result.datagram;
    if (established) this.#answer(from, lan);
    this.#heardAt.get(lan)!.set(from, performance.now());
    this.#listener.onSign({ from, lan, incarnation, heardAgeMs });
    let beat: Beat | null;
    try {
      beat = this.#assemblers.get(from)!.add(incarnation, body);
    } catch {
      this.counters.unreadable++;
      return;
    }
    if (beat !== null) this.#listener.onBeat(from, incarnation, beat);
  }

  #answer(to: string, lan: string, echo?: Uint8Array): void {
    const key = `${to} ${lan}`;
    const now = performance.now();
    if (now - (this.#answered.get(key) ?? Number.NEGATIVE_INFINITY) < ANSWER_INTERVAL_MS) return;
    this.#answered.set(key, now);
    this.#sendTo(to, lan, echo);
  }
}
