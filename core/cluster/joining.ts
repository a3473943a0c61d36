/**
 * How a node joins: it finds the cluster by a token's addresses, proves the authority by the token's fingerprint, and
 * only then shows the token's secret. Its private key never leaves it.
 */
import * as v from "valibot";
import { ConfigError, parseClusterYaml } from "./cluster_yaml.ts";
import { ClusterError, installCredentials, refuseMember } from "./credential_files.ts";
import { type Cluster, clusterFrom, loadCluster, nodeJson } from "./identity.ts";
import { formatToken, joinPlace, parseToken, TokenRegister } from "./join_token.ts";
import { loadAuthority } from "./load_authority.ts";
import { fingerprintOf } from "./membership_keys.ts";
import { callByToken } from "./token_call.ts";

export { AUTHORITY_PATH, MAX_JOIN_BYTES } from "./token_call.ts";
/** A path that a node answers to callers who are no members yet. */
export const JOIN_PATH = "/join";

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

/** What the admitting node hands over. */
export type JoinAnswer = v.InferOutput<typeof joinAnswer>;

/** A token for one new node: the text to hand over, and when it expires (wall clock, ms). */
export function createToken(cluster: Cluster, lifeMs?: number): { token: string; expires: number } {
  const token = new TokenRegister(joinPlace(cluster)).create(lifeMs);
  return { token: formatToken(token), expires: token.expires };
}

/**
 * Lets a node in: `body` is what it sent. Throws ClusterError when the request or its token is refused;
 * a request that is refused for its form, or for the node's name, does not use the token up.
 */
export async function admitNode(cluster: Cluster, body: unknown): Promise<JoinAnswer> {
  const found = v.safeParse(joinRequest, body);
  if (!found.success) throw new ClusterError("that is no join request");
  const { secret, node, request } = found.output;
  if (node === cluster.node)
    throw new ClusterError(`${node} is the node that you are joining: choose another name of cluster.yaml`);
  const tokens = new TokenRegister(joinPlace(cluster));
  // Who has no token does not learn what is in cluster.yaml.
  tokens.demand(secret);
  if (cluster.peers.every((peer) => peer.name !== node)) {
    const nodes = Object.keys(cluster.nodes).join(", ");
    throw new ClusterError(
      `cluster ${cluster.name} has no node ${node} in its cluster.yaml (nodes: ${nodes}); the token is still good`,
    );
  }
  tokens.redeem(secret);
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
  const found = v.safeParse(
    joinAnswer,
    await callByToken(token, JOIN_PATH, { secret: token.secret, node, request }),
  );
  if (!found.success) throw new ClusterError("the cluster's answer is no answer to a join");
  const answer = found.output;
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
