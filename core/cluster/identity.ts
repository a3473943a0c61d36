/**
 * Who this node is: its place in cluster.yaml, its certificate, and the keys that members share.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import * as v from "valibot";
import { type ClusterConfig, type ClusterNode, parseClusterYaml } from "./cluster_yaml.ts";
import {
  ClusterError,
  type CredentialFiles,
  clusterDirectory,
  installCredentials,
  readCredentials,
  refuseMember,
  replaceDurably,
} from "./credential_files.ts";
import { type FormerTimeouts, keepFormerTimeout, readFormerTimeouts } from "./former_timeouts.ts";
import { loadAuthority } from "./load_authority.ts";
import { type ClusterKeys, deriveKeys, fingerprintOf, newClusterKey } from "./membership_keys.ts";

/** A member's view of its cluster: cluster.yaml, plus who this node is in it. */
export interface Cluster extends ClusterConfig {
  /** This node's name. */
  node: string;
  /** This node's place in cluster.yaml, from 1. */
  nodeNumber: number;
  /** The others, in the order of cluster.yaml. */
  peers: readonly ClusterNode[];
  keys: ClusterKeys;
  /** 32 bytes, hex: the key of one module's replication. */
  replicationKey(module: string): string;
  /** PEM. The private keys are as secret as the files. */
  credentials: {
    authority: string;
    authorityKey: string;
    certificate: string;
    key: string;
    clusterKey: string;
  };
  /** base64url SHA-256 of the authority's certificate. */
  fingerprint: string;
  varDir: string;
  /** The text of cluster.yaml. */
  yaml: string;
  /** Heartbeat timeouts that other nodes may still go by; null: none. */
  formerTimeouts: FormerTimeouts | null;
}

const nodeFile = v.object({ version: v.literal(1), node: v.string() });

/** The text of node.json. */
export const nodeJson = (node: string): string => `${JSON.stringify({ version: 1, node })}\n`;

/**
 * Makes a new cluster with this node as its first member.
 * Throws ConfigError when the text is wrong, ClusterError when this node already is a member or is not in the file.
 */
export async function createCluster(
  varDir: string,
  yamlText: string,
  node: string,
  file = "cluster.yaml",
): Promise<Cluster> {
  const config = parseClusterYaml(yamlText, file);
  nodeOf(config, node, file);
  refuseMember(varDir);
  const { createAuthority, createRequest, issueCertificate } = await loadAuthority();
  const authority = await createAuthority();
  const { request, key } = await createRequest(node);
  installCredentials(varDir, {
    "cluster.yaml": yamlText,
    "node.json": nodeJson(node),
    "ca.crt": authority.certificate,
    "ca.key": authority.key,
    "node.crt": await issueCertificate(authority, node, request),
    "node.key": key,
    "cluster.key": newClusterKey(),
  });
  return loadCluster(varDir)!;
}

/** The node of this name. Throws ClusterError that names those that there are. */
export function nodeOf(config: ClusterConfig, name: string, file = "cluster.yaml"): ClusterNode {
  const found = Object.hasOwn(config.nodes, name) ? config.nodes[name] : undefined;
  if (found !== undefined) return found;
  throw new ClusterError(`${file} has no node ${name}: it has ${Object.keys(config.nodes).join(", ")}`);
}

/**
 * This node's cluster, or null when it belongs to none.
 * Throws ClusterError when files are damaged or do not belong together, ConfigError when cluster.yaml is wrong.
 */
export function loadCluster(varDir: string): Cluster | null {
  const files = readCredentials(varDir);
  return files === null ? null : clusterFrom(varDir, files);
}

/** The same from files in hand: a joining node checks what it was given before it keeps it. Throws as `loadCluster`. */
export function clusterFrom(varDir: string, files: CredentialFiles): Cluster {
  const directory = clusterDirectory(varDir);
  const config = parseClusterYaml(files["cluster.yaml"], `${directory}/cluster.yaml`);
  const name = nodeNameIn(files["node.json"], directory);
  const node = nodeOf(config, name, `${directory}/cluster.yaml`);
  checkCertificates(files, name, directory);
  let keys: ClusterKeys;
  try {
    keys = deriveKeys(files["cluster.key"]);
  } catch (error) {
    throw new ClusterError(`${directory}/cluster.key: ${(error as Error).message}`);
  }
  return {
    ...config,
    node: name,
    nodeNumber: node.number,
    peers: Object.values(config.nodes).filter((other) => other.name !== name),
    keys,
    replicationKey: keys.replicationKey,
    credentials: {
      authority: files["ca.crt"],
      authorityKey: files["ca.key"],
      certificate: files["node.crt"],
      key: files["node.key"],
      clusterKey: files["cluster.key"],
    },
    fingerprint: fingerprintOf(files["ca.crt"]),
    varDir,
    yaml: files["cluster.yaml"],
    formerTimeouts: readFormerTimeouts(varDir),
  };
}

function nodeNameIn(text: string, directory: string): string {
  try {
    return v.parse(nodeFile, JSON.parse(text)).node;
  } catch (error) {
    throw new ClusterError(`${directory}/node.json: ${(error as Error).message}`);
  }
}

/** Dates are left out on purpose: the machine's clock may be anything. */
function checkCertificates(files: CredentialFiles, node: string, directory: string): void {
  const fault = (what: string) =>
    new ClusterError(`${directory}: ${what}. Restore it from a backup, or move it away and join again`);
  try {
    const authority = new X509Certificate(files["ca.crt"]);
    const own = new X509Certificate(files["node.crt"]);
    if (!own.verify(authority.publicKey)) throw fault("node.crt is not signed by ca.crt");
    if (!own.checkPrivateKey(createPrivateKey(files["node.key"])))
      throw fault("node.key is not the key of node.crt");
    if (!authority.checkPrivateKey(createPrivateKey(files["ca.key"])))
      throw fault("ca.key is not the key of ca.crt");
    if (own.subject !== `CN=${node}`) throw fault(`node.crt is for ${own.subject}, node.json says ${node}`);
  } catch (error) {
    throw error instanceof ClusterError ? error : fault((error as Error).message);
  }
}

/**
 * Replaces this node's cluster.yaml. Numbers of nodes are part of what is on disk elsewhere, so nodes may be added at
 * the end but not reordered. A former heartbeat timeout is kept until it is known that nobody goes by it. Throws ConfigError or ClusterError; then
 * nothing changed.
 */
export function replaceClusterYaml(cluster: Cluster, yamlText: string, file = "cluster.yaml"): Cluster {
  const next = parseClusterYaml(yamlText, file);
  nodeOf(next, cluster.node, file);
  if (next.name !== cluster.name)
    throw new ClusterError(`${file} is of cluster ${next.name}, this is ${cluster.name}`);
  for (const node of Object.values(next.nodes)) {
    const before = cluster.nodes[node.name];
    if (before !== undefined && before.number !== node.number)
      throw new ClusterError(
        `${file} moves ${node.name} from place ${before.number} to ${node.number}: keep the order, and add new nodes at the end`,
      );
  }
  const { timeoutMs } = cluster.heartbeat;
  if (next.heartbeat.timeoutMs !== timeoutMs)
    keepFormerTimeout(cluster.varDir, cluster.formerTimeouts, timeoutMs);
  replaceDurably(`${clusterDirectory(cluster.varDir)}/cluster.yaml`, yamlText);
  return loadCluster(cluster.varDir)!;
}
