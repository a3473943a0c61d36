/** What the API works on, who asks it, and what it is to those who serve it. */
import type { Context } from "hono";
import type { Cluster } from "../cluster/cluster.ts";
import type { ClockStep, Engine } from "../daemon/engine.ts";

/** Who asks: the machine's administrator over the Unix socket, or a member over mutual TLS. */
export type ApiCaller = { kind: "local" } | { kind: "member"; node: string };

/** What the API works on. The daemon implements it. */
export interface ApiHost {
  varDir: string;
  /** Null while this node belongs to no cluster. */
  engine(): Engine | null;
  cluster(): Cluster | null;
  /** VAR/cluster has just been written: load it and start. Resolves when the node works as a member. */
  clusterChanged(): Promise<void>;
  /** Puts a cluster.yaml that `checkClusterChange` let pass into force, durably. */
  takeClusterYaml(yaml: string): Promise<void>;
  /** Every node has taken this text. False: another is in force here. */
  settleClusterYaml(yaml: string): Promise<boolean>;
  /** For `cluster state`: which peers are heard on which lan now, and what did not count. */
  heartbeats(): HeartbeatState;
  /** When the wall clock of this machine was last set, or null. */
  clockStep(): ClockStep | null;
}

/** What this node hears. */
export interface HeartbeatState {
  /** By lan, the peers heard there now. */
  hears: Readonly<Record<string, readonly string[]>>;
  /** By lan, why there is no socket. */
  troubles: Readonly<Record<string, string>>;
  counters: Readonly<Record<string, number>>;
}

/** The API as an application: `handle(request, caller)`. */
export interface Api {
  handle(request: Request, caller: ApiCaller): Promise<Response>;
}

/** What a route is called with: who asks. */
export type Bindings = { Bindings: { caller: ApiCaller } };
/** One call of a route. */
export type Ctx = Context<Bindings>;
