/**
 * Calls from one member to another: mutual TLS, at whichever of its addresses answers first.
 *
 * The address is found with a harmless probe before the request is sent, so that no command is ever sent twice.
 */
import type { Cluster } from "../cluster/cluster.ts";
import { readBounded, type TlsCall, tlsCall } from "../cluster/tls_call.ts";
import type { CommandResult } from "../daemon/engine.ts";
import { readResult } from "./result.ts";

/** How long to look for an address that answers, ms. */
const PROBE_TIMEOUT_MS = 2000;
/** How long a call may take when nobody says otherwise: commands wait for stop hooks. */
const CALL_TIMEOUT_MS = 15 * 60_000;
const MAX_ANSWER_BYTES = 64 << 20;
/** Everything that members ask each other lies under this path. */
export const API_PREFIX = "/api";

/** Bounds of one call. */
export interface CallOptions {
  /** For the whole call, ms. */
  timeoutMs?: number;
  signal?: AbortSignal;
  /** Who asked for it, for the log over there. */
  by?: string;
}

/**
 * Asks another node: `path` without the prefix, such as `/modules/db`. Never throws: a node that does not answer is status 3.
 */
export async function callNode(
  cluster: Cluster,
  node: string,
  method: string,
  path: string,
  body?: unknown,
  options: CallOptions = {},
): Promise<CommandResult> {
  try {
    const response = await requestNode(cluster, node, method, path, body, options);
    return readResult(await readBounded(response.body, MAX_ANSWER_BYTES));
  } catch (error) {
    return unreachable(node, error);
  }
}

/** The same, when the answer is a document of another kind than a result: null when the node does not answer with status 200. */
export async function fetchFromNode(
  cluster: Cluster,
  node: string,
  path: string,
  options: CallOptions = {},
): Promise<unknown> {
  try {
    const response = await requestNode(cluster, node, "GET", path, undefined, options);
    const text = await readBounded(response.body, MAX_ANSWER_BYTES);
    return response.status === 200 ? (JSON.parse(text) as unknown) : null;
  } catch {
    // Who asks for the state of all nodes wants to know just this: that one did not answer.
    return null;
  }
}

/** What is said of a node that cannot be reached. */
export function unreachable(node: string, error: unknown): CommandResult {
  const late = error instanceof Error && error.name === "TimeoutError";
  const why = late ? "no answer in time" : error instanceof Error ? error.message : String(error);
  return { status: 3, message: `${node} does not answer: ${why}` };
}

/** The raw answer, for streams. Rejects when the node cannot be reached. */
export async function requestNode(
  cluster: Cluster,
  node: string,
  method: string,
  path: string,
  body: unknown,
  options: CallOptions,
): Promise<Response> {
  const signals = [AbortSignal.timeout(options.timeoutMs ?? CALL_TIMEOUT_MS)];
  if (options.signal) signals.push(options.signal);
  const signal = AbortSignal.any(signals);
  const address = await findAddress(cluster, node, signal);
  return await tlsCall({
    ...memberCall(cluster, node, address, signal),
    method,
    path: API_PREFIX + path,
    ...(body !== undefined && { body: JSON.stringify(body) }),
    ...(options.by !== undefined && { headers: { "x-holdfast-by": options.by } }),
  });
}

function memberCall(
  cluster: Cluster,
  node: string,
  address: string,
  signal: AbortSignal,
): Omit<TlsCall, "method" | "path"> {
  const { authority, certificate, key } = cluster.credentials;
  return { address, port: cluster.port, authority, expect: node, client: { certificate, key }, signal };
}

/** The first of the node's addresses that answers as that node. */
async function findAddress(cluster: Cluster, node: string, signal: AbortSignal): Promise<string> {
  const place = Object.hasOwn(cluster.nodes, node) ? cluster.nodes[node] : undefined;
  if (place === undefined) throw new Error(`cluster ${cluster.name} has no node ${node}`);
  const found = new AbortController();
  const bounded = AbortSignal.any([signal, found.signal, AbortSignal.timeout(PROBE_TIMEOUT_MS)]);
  const probe = async (address: string): Promise<string> => {
    const response = await tlsCall({
      ...memberCall(cluster, node, address, bounded),
      method: "GET",
      path: "/probe",
    });
    await response.body?.cancel();
    return address;
  };
  try {
    return await Promise.any(Object.values(place.addresses).map((lan) => probe(lan.address)));
  } catch (error) {
    const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
    throw first instanceof Error ? first : new Error(String(first));
  } finally {
    found.abort();
  }
}
