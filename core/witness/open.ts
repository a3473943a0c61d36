/**
 * The witness that cluster.yaml names, as one object for the daemon.
 */
import type { Cluster } from "../cluster/identity.ts";
import type { WitnessConfig } from "./config.ts";
import { EtcdStore } from "./etcd.ts";
import type { TlsOptions } from "./http.ts";
import { NodeWitness } from "./node_witness.ts";
import { PingWitness } from "./ping.ts";
import { S3Store } from "./s3.ts";
import { StoredWitness } from "./stored_witness.ts";
import type { Witness } from "./witness.ts";

/** Who opens it. The daemon's `Cluster` is one. */
export type WitnessAsker = Pick<Cluster, "name" | "node" | "fingerprint"> & {
  heartbeat: Pick<Cluster["heartbeat"], "timeoutMs">;
  credentials: Pick<Cluster["credentials"], "certificate" | "key">;
};

/** How it is asked. */
export interface WitnessOptions {
  /** The value of a secret of the owner `witness`, null where it has none. Asked once, now. */
  secret(key: string): string | null;
  /** For each call, ms; default: the heartbeat timeout. */
  deadlineMs?: number;
  /** ms, counting a suspended machine; default: `sharedClock`. */
  clock?: () => number;
}

/** Opens it: no network is touched yet. Throws when a secret is missing, with what to type. */
export function openWitness(config: WitnessConfig, asker: WitnessAsker, options: WitnessOptions): Witness {
  const { secret, clock } = options;
  const deadlineMs = options.deadlineMs ?? asker.heartbeat.timeoutMs;
  const timing = { deadlineMs, ...(clock && { clock }) };
  // A name may be used twice in the world; the fingerprint of an authority is not.
  const space = `${asker.name}-${asker.fingerprint.slice(0, 12)}`;
  const stored = { node: asker.node, leaseMs: asker.heartbeat.timeoutMs, ...timing };
  switch (config.kind) {
    case "node":
      return new NodeWitness(config, { ...asker.credentials, ...timing });
    case "etcd": {
      const name = secret("user");
      const password = name === null ? null : needed(secret, "password");
      const user = name === null || password === null ? null : { name, password };
      const store = new EtcdStore(config, `holdfast/${space}`, { user, tls: tlsOf(secret) }, deadlineMs);
      return new StoredWitness(store, stored);
    }
    case "s3": {
      const credentials = {
        accessKey: needed(secret, "access_key"),
        secretKey: needed(secret, "secret_key"),
        tls: tlsOf(secret),
      };
      return new StoredWitness(new S3Store(config, space, credentials), stored);
    }
    case "ping":
      return new PingWitness(config.addresses, deadlineMs);
  }
}

function needed(secret: WitnessOptions["secret"], key: string): string {
  const value = secret(key);
  if (value !== null) return value;
  throw new Error(`the witness's secret ${key} has no value: holdfast secret set witness ${key}`);
}

function tlsOf(secret: WitnessOptions["secret"]): TlsOptions {
  const [ca, cert, key] = [secret("ca"), secret("certificate"), secret("key")];
  return { ...(ca !== null && { ca }), ...(cert !== null && { cert }), ...(key !== null && { key }) };
}
