/** Keys of the cluster: one secret on disk, every key in use derived from it for one purpose. */
import { createHash, hkdfSync, randomBytes } from "node:crypto";

const CLUSTER_KEY_BYTES = 32;

/** Keys that a member derives. All are 32 bytes. */
export interface ClusterKeys {
  /** Seals heartbeats. */
  heartbeat: Uint8Array;
  /** The stream of one module, hex, as ReplicationConfig.key wants it. */
  replicationKey(module: string): string;
  /** 8 bytes that tell this cluster's datagrams from another's; public. */
  label: Uint8Array;
}

/** A new cluster key, as the text of cluster.key. */
export const newClusterKey = (): string => `${randomBytes(CLUSTER_KEY_BYTES).toString("hex")}\n`;

/** HKDF-SHA256 of `secret` for one purpose. */
export function deriveKey(secret: Uint8Array, purpose: string, length = 32): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", secret, new Uint8Array(0), `holdfast 1 ${purpose}`, length));
}

/** Keys from the text of cluster.key. Throws when that is not 64 hexadecimal digits. */
export function deriveKeys(clusterKey: string): ClusterKeys {
  const text = clusterKey.trim();
  if (!/^[0-9a-f]{64}$/.test(text)) throw new Error("cluster.key is not 64 hexadecimal digits");
  const secret = Buffer.from(text, "hex");
  return {
    heartbeat: deriveKey(secret, "heartbeat"),
    replicationKey: (module) => Buffer.from(deriveKey(secret, `replication ${module}`)).toString("hex"),
    label: deriveKey(secret, "label", 8),
  };
}

/** SHA-256 of a PEM certificate's bytes, as base64url. */
export function fingerprintOf(pem: string): string {
  const body = /-----BEGIN CERTIFICATE-----([\s\S]*?)-----END CERTIFICATE-----/.exec(pem)?.[1];
  if (body === undefined) throw new Error("not a PEM certificate");
  return createHash("sha256").update(Buffer.from(body, "base64")).digest("base64url");
}
