/**
 * What a replication process is to its module: PRIM, SECOND, or idle; how it becomes each, and how each ends.
 *
 * Marks and the copy's record are opened once and go from role to role; all else begins and ends with its role.
 */
import type { Generations } from "../failover/types.ts";
import type { ReplicationConfig, VerifyResult } from "./control.ts";
import { ChangedBehind } from "./copy/changed_behind.ts";
import { CopyRecord } from "./copy/copy_record.ts";
import { MarksStore } from "./copy/marks_store.ts";
import { markStop, stopPoint } from "./copy/stop_point.ts";
import { inheritedMounts, Service } from "./fuse/service.ts";
import { type Host, messageOf } from "./host.ts";
import { monotonic } from "./loop/poll_loop.ts";
import { prepareDirectories } from "./mounts/guards.ts";
import { uncover } from "./mounts/read_only_view.ts";
import { KnownPlaces } from "./objects/known_places.ts";
import { Primary } from "./primary/primary.ts";
import { ReplicaRoots } from "./replica/replica_identity.ts";
import { Second } from "./second/second.ts";

/** Hears that something is done, or why not. */
export type Done = (problem?: string) => void;

/** See the top of the file. */
export class Roles {
  readonly #host: Host;
  #paths: readonly string[] = [];
  #store: MarksStore | null = null;
  #record: CopyRecord | null = null;
  #places = new KnownPlaces();
  #primary: Primary | null = null;
  #service: Service | null = null;
  #second: Second | null = null;

  constructor(host: Host) {
    this.#host = host;
  }

  /** The present one. */
  get role(): "idle" | "serving" | "following" {
    return this.#primary !== null ? "serving" : this.#second !== null ? "following" : "idle";
  }
  /** It serves, and this generation is durably the only one. */
  get alone(): boolean {
    return this.#primary?.outbound.alone ?? false;
  }
  get inSync(): boolean {
    return this.#primary?.inSync === true || this.#second?.phase === "inSync";
  }

  /** The whole tree is at hand: it is being copied, or both copies are being compared. */
  get isBusy(): boolean {
    return this.#primary?.isBusy === true || this.#second?.isBusy === true;
  }

  /** Opens marks and record, the first time. Throws. */
  configure(config: ReplicationConfig): void {
    this.#paths = config.paths.map(({ path }) => path);
    if (this.#store !== null) return;
    this.#store = new MarksStore(config.stateDir, this.#host.pool, {
      nodeNumber: config.nodeNumber,
      placeOf: (id) => this.#places.get(id),
    });
    this.#record = new CopyRecord(config.stateDir, this.#host.pool);
    if (this.#store.fault !== null)
      this.#host.log("info", `the next reintegration copies everything: ${this.#store.fault}`);
  }

  /** Once a turn. Returns when it wants to be called again. */
  afterTurn(now: number): number {
    let wake = Number.POSITIVE_INFINITY;
    if (this.#primary !== null) wake = Math.min(wake, this.#primary.afterTurn(now));
    if (this.#second !== null) wake = Math.min(wake, this.#second.afterTurn(now));
    if (this.#service !== null) {
      wake = Math.min(wake, this.#service.afterTurn(now));
      // What was resumed may have something to send: it must not wait for the next event.
      if (this.#primary !== null) wake = Math.min(wake, this.#primary.flush());
      // An unmount may have come to its end meanwhile.
      this.#service?.beginSyncs();
    }
    return wake;
  }

  /** Mounts and serves; a copy that followed is sealed first. */
  serve(generations: Generations, alone: boolean, done: Done): void {
    if (this.#primary !== null) {
      if (alone) this.#primary.goAlone(generations);
      done();
      return;
    }
    if (this.#second !== null) {
      this.#endFirst(this.#second, done, () => {
        this.serve(generations, alone, done);
      });
      return;
    }
    this.#host.withdraw();
    const { config } = this.#host;
    prepareDirectories(config);
    this.#places = new KnownPlaces();
    const places = this.#places;
    let primary: Primary | null = null;
    const service = new Service(this.#host, (id, parent, name, at) => {
      places.seen(id, parent, name, at);
      primary?.behind?.seen(id, parent, name, at);
    });
    const record = this.#bind(service.roots.map(({ fd }) => fd));
    primary = new Primary(this.#host, this.#store!, record, places, service.roots, generations, alone);
    const begun = primary;
    this.#become(service, begun, () => {
      begun.behind = ChangedBehind.begin(this.#host, this.#store!, service.roots, places);
      service.mount(begun.outbound);
    });
    done();
  }

  /** Serves the live mounts of a process that was killed. Nothing is acknowledged before the peer's word, or the daemon's. */
  adopt(generations: Generations, done: Done): void {
    const inherited = inheritedMounts(this.#host.shelves);
    const paths = this.#host.config.paths.map(({ path }) => path);
    if (inherited === null || this.#primary !== null || this.#second !== null) {
      done("there is no live mount to take over");
      return;
    }
    if (inherited.map(({ path }) => path).join("\0") !== paths.join("\0"))
      throw new Error("the live mounts are of other directories than the module's");
    this.#places = new KnownPlaces();
    if (inherited.some(({ root }) => stopPoint(root) !== null))
      throw new Error("it is not known yet what was changed while the module was stopped");
    const places = this.#places;
    const seen = places.seen.bind(places);
    const service = new Service(this.#host, seen, inherited);
    places.finder = service.finder;
    const record = this.#bind(service.roots.map(({ fd }) => fd));
    const { roots } = service;
    const primary = new Primary(this.#host, this.#store!, record, this.#places, roots, generations, false);
    this.#become(service, primary, () => {
      service.adopt(primary.outbound, inherited);
    });
    done();
  }

  /** PRIM from here on, unless `begin` throws. */
  #become(service: Service, primary: Primary, begin: () => void): void {
    try {
      begin();
    } catch (error) {
      primary.close();
      throw error;
    }
    primary.outbound.settleTimes = (): void => {
      service.settleTimes();
    };
    this.#service = service;
    this.#primary = primary;
  }

  /** Follows the peer's primary. */
  follow(generations: Generations, full: boolean, sacrifice: boolean, done: Done): void {
    if (this.#primary !== null) {
      done("this process serves: stop it before it can follow");
      return;
    }
    if (this.#second !== null) {
      this.#endFirst(this.#second, done, () => {
        this.follow(generations, full, sacrifice, done);
      });
      return;
    }
    this.#host.withdraw();
    const { config } = this.#host;
    prepareDirectories(config);
    const roots = new ReplicaRoots(
      config.paths.map(({ path }) => path),
      config.nodeNumber,
    );
    const record = this.#bind(roots.fds);
    const second = new Second(this.#host, this.#store!, record, roots, generations, full, sacrifice);
    second.start();
    this.#second = second;
    done();
  }

  /** Are these the data that the marks speak of? If not, the marks know nothing of what they lack. */
  #bind(roots: readonly number[]): CopyRecord {
    const record = this.#record!;
    const fault = record.bind(roots);
    if (fault === null) return record;
    this.#store!.forget();
    this.#host.log("warning", `${fault}; its copy counts as inconsistent`);
    return record;
  }

  /** A copy that followed is sealed before anything else begins with it. */
  #endFirst(second: Second, done: Done, act: () => void): void {
    second.seal(() => {
      this.#endFollowing(second);
      attempt(done, act);
    });
  }

  #endFollowing(second: Second): void {
    second.release();
    this.#record?.release();
    if (this.#second === second) this.#second = null;
  }

  /** This generation is durably the only one: releases what waited for the peer. */
  goAlone(generations: Generations, done: Done): void {
    this.#host.withdraw();
    this.#primary?.goAlone(generations);
    done(this.#primary === null ? "this process does not serve" : "");
  }

  /** The daemon recorded what was reported. */
  proceed(after: "reintegrating" | "caughtUp"): void {
    this.#host.withdraw();
    if (after === "caughtUp") this.#primary?.proceed();
    this.#second?.proceed(after);
  }

  /** Takes nothing more from the primary. */
  seal(done: Done): void {
    if (this.#second === null) done();
    else this.#second.seal(done);
  }

  /** Compares both copies; `done` hears the result, or why there is none. */
  verify(done: (result: VerifyResult | string) => void): void {
    if (this.#primary === null) {
      done("verify runs on the primary, and this node does not serve");
      return;
    }
    this.#service?.settleTimes();
    this.#primary.verify(done);
  }

  /** Ends the role with nothing lost. */
  stop(done: Done): void {
    this.#host.withdraw();
    const second = this.#second;
    if (second !== null) {
      second.seal(() => {
        this.#endFollowing(second);
        this.#noteStop();
        done();
      });
      return;
    }
    const primary = this.#primary;
    const service = this.#service;
    if (primary === null || service === null) {
      for (const path of this.#paths) uncover(path);
      done();
      return;
    }
    service.unmount(monotonic(), (problem) => {
      primary.drain(() => {
        this.#service = null;
        this.#primary = null;
        primary.close();
        this.#record?.release();
        // Whoever kept the mount to the end may go on writing to it: nobody knows when that ends.
        if (problem === "") this.#noteStop();
        this.#host.connectedTo(null);
        done(problem);
      });
    });
  }

  /** What changes from here on changes without us. */
  #noteStop(): void {
    try {
      markStop(this.#paths);
    } catch (error) {
      this.#host.log(
        "warning",
        `changes made while the module is stopped will not be noticed: ${messageOf(error)}`,
      );
    }
  }

  /** Everything at once, without a goodbye. */
  abort(): void {
    this.#service?.abort();
    this.#primary?.close();
    this.#service = null;
    this.#primary = null;
    this.#record?.release();
    const second = this.#second;
    if (second !== null) {
      second.abandon();
      this.#endFollowing(second);
    }
  }
}

/** Runs what a request led to later: a refusal is its answer, not the end of the process. */
function attempt(done: Done, act: () => void): void {
  try {
    act();
  } catch (error) {
    done(messageOf(error));
  }
}
