/**
 * The daemon: the one process of a node that knows everything about it, and the only one that decides.
 *
 * It waits until the node belongs to a cluster, then puts the parts together: guardian, replication sockets, modules,
 * heartbeats, API. It never waits for a disk, a hook or a name server in the loop that beats.
 */
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import {
  type Api,
  type ApiHost,
  createApi,
  type HeartbeatState,
  serveLocal,
  serveMembers,
} from "../api/api.ts";
import { type Cluster, forgetFormerTimeouts, loadCluster, replaceClusterYaml } from "../cluster/cluster.ts";
import { openNetwork } from "../network/virtual_ip.ts";
import { makeDirectoryDurably } from "../platform/durable_directory.ts";
import type { ClockStep, Engine } from "./engine.ts";
import { GuardianLink } from "./guardian/link.ts";
import { type WatchdogState, type WatchdogWish, watchdogFile } from "./guardian/watchdog.ts";
import { Heartbeats } from "./heartbeats.ts";
import type { ModuleRuntime } from "./module/runtime.ts";
import { NodeEngine } from "./node_engine.ts";
import type { NodeParts } from "./node_parts.ts";
import { claimPriority } from "./priority.ts";
import { ProbePorts } from "./probe_ports.ts";
import { listenForReplication } from "./replication/link.ts";

/** Neighbours are reminded of the virtual addresses this often, ms. */
const ANNOUNCE_MS = 60_000;

/** A node that belongs to a cluster. */
interface Member {
  cluster: Cluster;
  engine: NodeEngine;
  heartbeats: Heartbeats;
  /** Everything goes on with the timings that the cluster has now. */
  retime(): void;
  close(): Promise<void>;
}

/** One daemon over one var directory. */
class Daemon implements ApiHost {
  readonly varDir: string;
  #member: Member | null = null;
  #api: Api | null = null;

  constructor(
    varDir: string,
    private readonly watchdog: WatchdogWish | null,
    private readonly tell: (message: string) => void,
  ) {
    this.varDir = resolve(varDir);
  }

  engine(): Engine | null {
    return this.#member?.engine ?? null;
  }

  cluster(): Cluster | null {
    return this.#member?.cluster ?? null;
  }

  heartbeats(): HeartbeatState {
    if (!this.#member) return { hears: {}, troubles: {}, counters: {} };
    const { troubles, counters } = this.#member.heartbeats.health;
    return { hears: this.#member.heartbeats.heardOnEachLan(), troubles, counters };
  }

  clockStep(): ClockStep | null {
    return this.#member?.heartbeats.wallClock.last ?? null;
  }

  /** Starts what can be started; returns what closes it. */
  async start(): Promise<() => Promise<void>> {
    for (const name of ["run", "log", "state", "modules"]) {
      makeDirectoryDurably(join(this.varDir, name));
    }
    this.#api = createApi(this);
    // Its socket is also the lock against a second daemon, so it comes first; but it answers only when the node is whole.
    const { promise: whole, resolve: becomeWhole } = Promise.withResolvers<void>();
    const api = this.#api;
    const local = await serveLocal(this.varDir, {
      handle: async (request, caller) => {
        await whole;
        return await api.handle(request, caller);
      },
    });
    try {
      await this.clusterChanged();
    } catch (error) {
      local.close();
      throw error;
    }
    becomeWhole();
    if (!this.#member)
      this.tell(
        `this node belongs to no cluster yet; type "holdfast cluster create" or "holdfast cluster join"`,
      );
    return async () => {
      await this.#member?.close();
      local.close();
    };
  }

  async clusterChanged(): Promise<void> {
    const cluster = loadCluster(this.varDir);
    if (!cluster) return;
    if (this.#member)
      throw new Error(
        "this node works in a cluster already: restart the daemon to load another cluster.yaml",
      );
    this.#member = await this.#join(cluster);
    this.tell(`${cluster.node} of cluster ${cluster.name}`);
  }

  async takeClusterYaml(yaml: string): Promise<void> {
    const { cluster, retime } = this.#joined;
    const { witness, heartbeat, formerTimeouts } = replaceClusterYaml(cluster, yaml);
    const isSame = JSON.stringify(witness) === JSON.stringify(cluster.witness);
    // Everything that works with this cluster holds the same object.
    Object.assign(cluster, { heartbeat, formerTimeouts, yaml, ...(isSame ? {} : { witness }) });
    retime();
    this.tell("a new cluster.yaml is in force");
  }

  /** For the log, and for `doctor`. */
  #noteWatchdog({ ok, detail }: WatchdogState): void {
    writeFileSync(watchdogFile(this.varDir), `${JSON.stringify({ ok, detail })}\n`, { mode: 0o600 });
    if (!ok) console.error(`holdfast: no watchdog guards this machine: ${detail}`);
    else if (this.watchdog !== null) this.tell(detail);
  }

  async settleClusterYaml(yaml: string): Promise<boolean> {
    const { cluster, retime } = this.#joined;
    if (cluster.yaml !== yaml) return false;
    if (cluster.formerTimeouts === null) return true;
    forgetFormerTimeouts(this.varDir);
    cluster.formerTimeouts = null;
    retime();
    return true;
  }

  get #joined(): Member {
    if (!this.#member) throw new Error("this node belongs to no cluster");
    return this.#member;
  }

  /** Starts everything that a member has; where a part cannot be, those before it are closed again. */
  async #join(cluster: Cluster): Promise<Member> {
    // What is opened is closed in reverse.
    await using opened = new AsyncDisposableStack();
    const modules = new Map<string, ModuleRuntime>();
    const guardian = new GuardianLink(this.varDir);
    const welcome = await guardian.open();
    opened.defer(() => {
      guardian.removeAllListeners();
      guardian.farewell();
    });
    guardian.on("lost", () => {
      console.error("holdfast: the guardian is gone; starting another");
      void guardian.open();
    });
    guardian.guard(this.watchdog, (state) => this.#noteWatchdog(state));
    guardian.on("fenced", (module) => modules.get(module)?.fenced());
    guardian.on("awake", () => {
      for (const runtime of modules.values()) runtime.awake();
    });
    let engine: NodeEngine | null = null;
    const heartbeats = new Heartbeats(cluster, guardian, modules, () => engine);
    const own = cluster.nodes[cluster.node]!;
    const lans = Object.fromEntries(Object.entries(own.addresses).map(([lan, { bind }]) => [lan, bind]));
    const network = openNetwork(lans);
    const announcing = setInterval(() => network.announce(), ANNOUNCE_MS);
    opened.defer(() => clearInterval(announcing));
    const { incarnation } = heartbeats;
    const publish = (): void => heartbeats.publish();
    const heard = (): ReadonlySet<string> => heartbeats.heard();
    const statusOf: NodeParts["statusOf"] = (module) => engine?.status().modules[module]?.nodes ?? null;
    const member = new NodeEngine(
      { varDir: this.varDir, cluster, guardian, welcome, incarnation, network, publish, heard, statusOf },
      modules,
    );
    engine = member;
    opened.defer(listenForReplication(this.varDir, (module) => modules.get(module)?.link));
    const server = serveMembers(cluster, this.#api!, (address, error) =>
      console.error(`holdfast: ${address}: ${error.message}`),
    );
    opened.defer(() => server.close());
    opened.defer(() => heartbeats.close());
    await heartbeats.open();
    const probes = new ProbePorts(modules, guardian);
    opened.defer(() => probes.close());
    await member.loadAll();
    probes.look();
    const parts = opened.move();
    return {
      cluster,
      engine: member,
      heartbeats,
      retime: () => {
        heartbeats.retime();
        for (const runtime of modules.values()) runtime.retime();
      },
      close: async () => {
        await member.standDown();
        await parts.disposeAsync();
      },
    };
  }
}

/**
 * Runs the daemon of the node whose state lies in `varDir` until SIGTERM or SIGINT, which stop its modules cleanly first; `tell` is told how it
 * goes. Throws when another daemon works there, or when what is on disk cannot be trusted.
 */
export async function runDaemon(options: {
  varDir: string;
  watchdog: WatchdogWish | null;
  tell: (message: string) => void;
}): Promise<void> {
  claimPriority();
  const { varDir, watchdog, tell } = options;
  const close = await new Daemon(varDir, watchdog, tell).start();
  await new Promise<void>((stop) => {
    process.once("SIGTERM", stop);
    process.once("SIGINT", stop);
  });
  tell("stopping the modules of this node");
  await close();
}
