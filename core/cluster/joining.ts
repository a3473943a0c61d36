/**
 * How a node joins: it finds the cluster by a token's addresses, proves the authority by the token's fingerprint, and
 * only then shows the token's secret. Its private key never leaves it.
 */
import * as v from "valibot";
import { ConfigError, parseClusterYaml } from "./cluster_yaml.ts";
import { ClusterError, installCredentials, JoinRefused, refuseMember } from "./credential_files.ts";
import { type Cluster, clusterFrom, loadCluster, nodeJson } from "./identity.ts";
import { formatToken, type JoinToken, parseToken, TokenRegister } from "./join_token.ts";
import { loadAuthority } from "./load_authority.ts";
import { fingerprintOf } from "./membership_keys.ts";
import { readBounded, tlsCall } from "./tls_call.ts";

/** Paths that a node answers to callers who are no members yet. */
export const AUTHORITY_PATH = "/authority";
export const JOIN_PATH = "/join";
/** Most bytes of a join request. */
export const MAX_JOIN_BYTES = 16 * 1024;
const MAX_ANSWER_BYTES = 1 << 20;
const ADDRESS_TIMEOUT_MS = 10_000;

const pem = v.pipe(v.string(), v.maxLength(8192));
const joinRequest = v.strictObject({
  secret: v.pipe(v.string(), v.maxLength(64)),
  node: v.pipe(v.string(), v.maxLength(64)),
  request: pem,
});
const joinAnswer = v.strictObject({
  yaml: v.string(),
  certificate: pem,
  authority: pem,
  authorityKey: pem,
  clusterKey: v.pipe(v.string(), v.maxLength(128)),
});
const refusal = v.object({ message: v.pipe(v.string(), v.maxLength(2000)) });

/** What the admitting node hands over. */
export type JoinAnswer = v.InferOutput<typeof joinAnswer>;

/** A token for one new node: the text to hand over, and when it expires (wall clock, ms). */
export function createToken(cluster: Cluster, lifeMs?: number): { token: string; expires: number } {
  const token = new TokenRegister(cluster).create(lifeMs);
  return { token: formatToken(token), expires: token.expires };
}

/**
 * Lets a node in: `body` is what it sent. Throws ClusterError when the request or its token is refused;
 * a request that is refused for its form or for the node's name does not use the token up.
 */
export async function admitNode(cluster: Cluster, body: unknown): Promise<JoinAnswer> {
  const found = v.safeParse(joinRequest, body);
  if (!found.success) throw new ClusterError("that is no join request");
  const { secret, node, request } = found.output;
  if (node === cluster.node)
    throw new ClusterError(`${node} is the node that you are joining: choose another name of cluster.yaml`);
  if (cluster.peers.every((peer) => peer.name !== node)) {
    // Who has no token does not learn what is in cluster.yaml.
    new TokenRegister(cluster).redeem(secret);
    throw new ClusterError(
      `cluster ${cluster.name} has no node ${node} in its cluster.yaml (the token is used up: make a new one)`,
    );
  }
  new TokenRegister(cluster).redeem(secret);
  const { issueCertificate } = await loadAuthority();
  const authority = { certificate: cluster.credentials.authority, key: cluster.credentials.authorityKey };
  let certificate: string;
  try {
    certificate = await issueCertificate(authority, node, request);
  } catch (error) {
    throw new ClusterError(`the request for a certificate is refused: ${(error as Error).message}`);
  }
  return {
    yaml: cluster.yaml,
    certificate,
    authority: authority.certificate,
    authorityKey: authority.key,
    clusterKey: cluster.credentials.clusterKey,
  };
}

/**
 * Makes this node a member. Throws ClusterError when the token, the network or the cluster refuses; then nothing was kept.
 */
export async function joinCluster(varDir: string, tokenText: string, node: string): Promise<Cluster> {
  const token = parseToken(tokenText);
  refuseMember(varDir);
  const { createRequest } = await loadAuthority();
  const { request, key } = await createRequest(node);
  const answer = await askAnyAddress(token, JSON.stringify({ secret: token.secret, node, request }));
  if (fingerprintOf(answer.authority) !== token.fingerprint)
    throw new ClusterError("the cluster answered with another authority than the token's");
  const files = {
    "cluster.yaml": answer.yaml,
    "node.json": nodeJson(node),
    "ca.crt": answer.authority,
    "ca.key": answer.authorityKey,
    "node.crt": answer.certificate,
    "node.key": key,
    "cluster.key": answer.clusterKey,
  };
  try {
    parseClusterYaml(answer.yaml);
    clusterFrom(varDir, files);
  } catch (error) {
    if (error instanceof ConfigError || error instanceof ClusterError)
      throw new ClusterError(`the cluster's answer is no good: ${error.message}`);
    throw error;
  }
  installCredentials(varDir, files);
  return loadCluster(varDir)!;
}

/** Tries the token's addresses in order until one answers; a refusal by the cluster itself is final. */
async function askAnyAddress(token: JoinToken, body: string): Promise<JoinAnswer> {
  const failures: string[] = [];
  for (const address of token.addresses) {
    let authority: string;
    try {
      authority = await fetchAuthority(token, address);
    } catch (error) {
      failures.push(`${address}: ${error instanceof Error ? error.message : String(error)}`);
      continue;
    }
    return await ask(token, address, authority, body);
  }
  throw new ClusterError(
    `no address of the token answers as the cluster (port ${token.port}): ${failures.join("; ")}`,
  );
}

async function fetchAuthority(token: JoinToken, address: string): Promise<string> {
  const signal = AbortSignal.timeout(ADDRESS_TIMEOUT_MS);
  const response = await tlsCall({
    address,
    port: token.port,
    path: AUTHORITY_PATH,
    method: "GET",
    authority: null,
    expect: null,
    signal,
  });
  const text = await readBounded(response.body, MAX_JOIN_BYTES);
  if (response.status !== 200) throw new ClusterError(`answered ${response.status}`);
  if (fingerprintOf(text) !== token.fingerprint)
    throw new ClusterError(
      "is another cluster, or an impostor: its authority does not fit the token's fingerprint",
    );
  return text;
}

async function ask(token: JoinToken, address: string, authority: string, body: string): Promise<JoinAnswer> {
  const signal = AbortSignal.timeout(ADDRESS_TIMEOUT_MS);
  let status: number;
  let value: unknown;
  try {
    const response = await tlsCall({
      address,
      port: token.port,
      path: JOIN_PATH,
      method: "POST",
      body,
      authority,
      expect: null,
      signal,
    });
    status = response.status;
    value = JSON.parse(await readBounded(response.body, MAX_ANSWER_BYTES));
  } catch (error) {
    throw new ClusterError(
      `joining at ${address} failed: ${error instanceof Error ? error.message : String(error)} (the token may be used up: make a new one)`,
    );
  }
  if (status !== 200) {
    const refused = v.safeParse(refusal, value);
    throw new JoinRefused(refused.success ? refused.output.message : `the cluster answered ${status}`);
  }
  const found = v.safeParse(joinAnswer, value);
  if (!found.success) throw new ClusterError("the cluster's answer is no answer to a join");
  return found.output;
}
