/**
 * Who is alive, judged from heartbeats: pure, one instance for each peer and module (or for each peer, where timings are the cluster's).
 *
 * Silence is measured in this node's own awake time: a tick counts for at most one interval, however late it comes. So a daemon that was
 * stopped, stunned or starved for two seconds wakes with almost no evidence against its peer, reads what waits in its sockets, and
 * goes on (traps 16, 16a). Awake time is never longer than real time, so nobody is accused before the timeout, plus a margin of doubt.
 */

/** Settings, all durations in ms. */
export interface MembershipConfig {
  node: string;
  /** This daemon's own incarnation: a peer that echoes it is certainly not a datagram from before this start. */
  incarnation?: string;
  peer: string;
  /** Names of the lans, in the order in which people list them. */
  lans: readonly string[];
  interval: number;
  timeout: number;
}

/** What a heartbeat says about the sender's side of the link. Authenticated and decoded by the caller. */
export interface Heard {
  lan: string;
  /** Random at each start of the peer's daemon. */
  incarnation: string;
  /** The incarnation of this node that the peer heard last, null when none. Absent: the transport itself proved that the sender lives now. */
  echo?: string | null | undefined;
  /** Grows with each heartbeat of an incarnation, over all lans. */
  sequence: number;
  /** The lans on which the peer hears this node. */
  hears: readonly string[];
  /** When it came, by the clock of `tick`, ms: silence begins then. Absent: at the last tick. */
  at?: number | undefined;
}

/** One direction each: `up` both ways, `one-way` heard but the peer does not hear us there, `down` not heard. */
export type LanState = "init" | "up" | "one-way" | "down";

/** What changed. */
export type MembershipEvent =
  | { type: "lan"; lan: string; state: LanState; cause: string }
  /** Silent on every lan, and so is the replication link. */
  | { type: "peerLost"; cause: string }
  | { type: "peerBack"; incarnation: string }
  /** Another start of the peer's daemon: what was known of it is gone. */
  | { type: "peerRestarted"; incarnation: string };

/** What a heartbeat was worth. */
export interface Judged {
  /** The newest word of the peer so far: its view counts. False for repeated, overtaken and former incarnations' datagrams. */
  fresh: boolean;
  events: MembershipEvent[];
}

interface Lan {
  state: LanState;
  /** Awake ms since something was heard here. */
  silence: number;
}

/** The judge of one peer. */
export interface Membership {
  /** A heartbeat came in. */
  heard(message: Heard): Judged;
  /** The replication link moved, at most `ageMs` (default 0) before `now` (as for `tick`; default: the last tick): a sign of life too (trap 18). */
  sign(ageMs?: number, now?: number): MembershipEvent[];
  /** Time passes. Call it about every interval; `now` is monotonic, ms. */
  tick(now: number): MembershipEvent[];
  /** The peer's incarnation heard last, believed or not: to be said in every heartbeat as `echo`. */
  echo(): string | null;
  /** The peer's newest word that counted: to be said in every heartbeat, so that the peer knows since when its silence is measured here. Null: none. */
  last(): { incarnation: string; sequence: number } | null;
  /** The lans on which the peer is heard: to be said in every heartbeat. */
  hears(): string[];
  /** `heartbeat.LAN` and its state, with a detail for people. */
  resources(): { name: string; state: "init" | "up" | "down"; detail: string }[];
  /** Is the peer heard at all? Null until it is known. */
  readonly alive: boolean | null;
}

/** Doubt about clocks, as a part of the timeout. */
const CLOCK_DOUBT = 0.03;
/** How fast remembered lateness fades, per tick. */
const FADING = 0.9;
/** A peer never heard since this daemon's start is waited for that many timeouts. */
const FIRST_TIMEOUTS = 2;
/** Former incarnations that are remembered, so that their delayed datagrams count for nothing. */
const REMEMBERED = 8;

/** A new judge, at the start of the daemon (or of the module). */
export function createMembership(config: MembershipConfig): Membership {
  return new Judge(config);
}

class Judge implements Membership {
  alive: boolean | null = null;
  private readonly lans = new Map<string, Lan>();
  private silence = 0;
  private lastTick: number | null = null;
  private lateness = 0;
  private incarnation: string | null = null;
  /** When anything at all came from the peer, believed or not, in awake ms. */
  private lastWord = Number.NEGATIVE_INFINITY;
  private lastIncarnation: string | null = null;
  private stranger: { incarnation: string; since: number } | null = null;
  /** Awake ms since the start. */
  private awake = 0;
  private former: string[] = [];
  private sequence = -1;
  private lastLan = "";
  private readonly config: MembershipConfig;

  constructor(config: MembershipConfig) {
    this.config = config;
    for (const lan of config.lans) this.lans.set(lan, { state: "init", silence: 0 });
  }

  heard(message: Heard): Judged {
    const lan = this.lans.get(message.lan);
    if (lan === undefined || (this.former.includes(message.incarnation) && !this.livesOn(message)))
      return { fresh: false, events: [] };
    this.lastIncarnation = message.incarnation;
    this.lastWord = this.awake;
    const events: MembershipEvent[] = [];
    if (message.incarnation !== this.incarnation) {
      if (!this.believes(message)) return { fresh: false, events };
      this.meet(message.incarnation, events);
    }
    lan.silence = this.sinceTick(message.at);
    this.lastLan = message.lan;
    const fresh = message.sequence > this.sequence;
    if (fresh) {
      this.sequence = message.sequence;
      this.readHears(message.hears, events);
    }
    if (lan.state === "init" || lan.state === "down")
      this.setLan(message.lan, message.hears.includes(message.lan) ? "up" : "one-way", "heard", events);
    this.live(events, message.at);
    return { fresh, events };
  }

  sign(ageMs = 0, now?: number): MembershipEvent[] {
    const events: MembershipEvent[] = [];
    const silence = ageMs + this.sinceTick(now);
    if (this.incarnation !== null && (ageMs === 0 || silence < this.silence)) {
      this.lastLan = "the replication link";
      this.live(events);
      this.silence = silence;
    }
    return events;
  }

  tick(now: number): MembershipEvent[] {
    const elapsed = this.lastTick === null ? 0 : Math.max(0, now - this.lastTick);
    this.lastTick = now;
    const counted = Math.min(elapsed, this.config.interval);
    this.lateness = Math.max(elapsed - counted, this.lateness * FADING);
    const events: MembershipEvent[] = [];
    for (const [name, lan] of this.lans) {
      lan.silence += counted;
      if (lan.silence > this.limit() && lan.state !== "down")
        this.setLan(name, "down", `nothing heard for ${seconds(lan.silence)}`, events);
    }
    this.silence += counted;
    this.awake += counted;
    const patience = this.limit() * (this.alive === null ? FIRST_TIMEOUTS : 1);
    // Somebody speaks who is not yet believed: it will be, or it falls silent, within a timeout.
    const undecided = this.awake - this.lastWord <= this.config.timeout;
    if (this.alive !== false && this.silence > patience && !undecided) {
      const first = this.alive === null;
      this.alive = false;
      const where = [...this.lans.keys()].join(", ");
      events.push({
        type: "peerLost",
        cause: first
          ? `${this.config.peer} was not heard for ${seconds(this.silence)} since this daemon started (lans: ${where})`
          : `no sign of life from ${this.config.peer} for ${seconds(this.silence)} on any of: ${where}; last heard on ${this.lastLan}`,
      });
    }
    return events;
  }

  echo(): string | null {
    return this.lastIncarnation;
  }

  last(): { incarnation: string; sequence: number } | null {
    return this.incarnation === null ? null : { incarnation: this.incarnation, sequence: this.sequence };
  }

  hears(): string[] {
    const heard: string[] = [];
    for (const [name, { state }] of this.lans) if (state === "up" || state === "one-way") heard.push(name);
    return heard;
  }

  resources(): { name: string; state: "init" | "up" | "down"; detail: string }[] {
    return [...this.lans].map(([name, { state }]) => ({
      name: `heartbeat.${name}`,
      state: state === "one-way" ? "down" : state,
      detail:
        state === "one-way"
          ? `${this.config.peer} is heard here, but does not hear ${this.config.node}: packets are lost on the way there`
          : state === "down"
            ? `${this.config.peer} is not heard here`
            : "",
    }));
  }

  /** The timeout, plus doubt about clocks, plus how late this node's own loop was of late. */
  private limit(): number {
    const { timeout } = this.config;
    return timeout * (1 + CLOCK_DOUBT) + Math.min(this.lateness, timeout / 2);
  }

  /**
   * A delayed datagram of a start that is over looks like a new start. A new one is believed when it echoes this daemon, or, where it cannot
   * hear us, when it was heard for a whole timeout and the one known before is silent.
   */
  private believes({ incarnation, echo }: Heard): boolean {
    if (echo === undefined || echo === this.config.incarnation) return true;
    if (this.stranger?.incarnation !== incarnation) this.stranger = { incarnation, since: this.awake };
    const { timeout } = this.config;
    const isAlone = this.incarnation === null || this.silence >= timeout / 2;
    return isAlone && this.awake - this.stranger.since >= timeout;
  }

  /**
   * What seemed to be over is not: it was a delayed datagram of an older start that took its place, which since says nothing. The replication link's
   * signs are of either.
   */
  private livesOn({ incarnation, echo }: Heard): boolean {
    const { timeout } = this.config;
    if ([...this.lans.values()].some(({ silence }) => silence < timeout)) return false;
    if (this.stranger?.incarnation !== incarnation) this.stranger = { incarnation, since: this.awake };
    return echo === this.config.incarnation && this.awake - this.stranger.since >= timeout;
  }

  private meet(incarnation: string, events: MembershipEvent[]): void {
    if (this.incarnation !== null) {
      const over = this.former.filter((one) => one !== incarnation);
      this.former = [this.incarnation, ...over].slice(0, REMEMBERED);
      events.push({ type: "peerRestarted", incarnation });
    }
    this.incarnation = incarnation;
    this.stranger = null;
    this.sequence = -1;
  }

  /** A silence that begins at `at`, as of the last tick: below 0, since the next tick counts all the time from the last one. */
  private sinceTick(at: number | undefined): number {
    if (at === undefined || this.lastTick === null) return 0;
    return -Math.min(Math.max(0, at - this.lastTick), this.config.interval);
  }

  private live(events: MembershipEvent[], at?: number): void {
    this.silence = this.sinceTick(at);
    if (this.alive === true) return;
    this.alive = true;
    events.push({ type: "peerBack", incarnation: this.incarnation ?? "" });
  }

  /** The peer's side of each lan (trap 17). */
  private readHears(hears: readonly string[], events: MembershipEvent[]): void {
    for (const [name, lan] of this.lans) {
      if (lan.state === "up" && !hears.includes(name))
        this.setLan(name, "one-way", `${this.config.peer} does not hear ${this.config.node} here`, events);
      else if (lan.state === "one-way" && hears.includes(name))
        this.setLan(name, "up", "heard both ways", events);
    }
  }

  private setLan(name: string, state: LanState, cause: string, events: MembershipEvent[]): void {
    const lan = this.lans.get(name);
    if (lan === undefined || lan.state === state) return;
    lan.state = state;
    events.push({ type: "lan", lan: name, state, cause });
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
