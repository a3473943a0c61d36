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
/** While a call waits, the node is probed this often: its power may be gone, and TCP alone would wait for many minutes. */
const WATCH_INTERVAL_MS = 2000;
/** Probes that fail in a row before a call is given up. */
const WATCH_FAILURES = 3;
const MAX_ANSWER_BYTES = 64 << 20;
/** Everything that members ask each other lies under this path. */
export const API_PREFIX = "/api";

/** Bounds of one call. */
export interface CallOptions {
  /** For the whole call, ms. Without it a call lasts as long as the node is there: commands wait for hooks, logs are followed. */
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
  const message = error instanceof Error ? error.message : String(error);
  const why = late
    ? "no answer in time"
    : message.startsWith("ECONNREFUSED")
      ? "its machine is there, but no daemon of this cluster runs on it"
      : message;
  return { status: 3, message: `${node} does not answer: ${why}` };
}

/** The raw answer, for streams. Rejects when the node cannot be reached; the body fails when the node is gone in the middle. */
export async function requestNode(
  cluster: Cluster,
  node: string,
  method: string,
  path: string,
  body: unknown,
  options: CallOptions,
): Promise<Response> {
  const gone = new AbortController();
  const signals = [gone.signal];
  if (options.timeoutMs !== undefined) signals.push(AbortSignal.timeout(options.timeoutMs));
  if (options.signal) signals.push(options.signal);
  const signal = AbortSignal.any(signals);
  const address = await findAddress(cluster, node, signal);
  const watch = watchNode(cluster, node, gone);
  try {
    const response = await tlsCall({
      ...memberCall(cluster, node, address, signal),
      method,
      path: API_PREFIX + path,
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(options.by !== undefined && { headers: { "x-holdfast-by": options.by } }),
    });
    return watched(response, watch);
  } catch (error) {
    clearInterval(watch);
    throw error;
  }
}

type Watch = ReturnType<typeof setInterval>;

/** Aborts `gone` when the node no longer answers probes. */
function watchNode(cluster: Cluster, node: string, gone: AbortController): Watch {
  let failures = 0;
  const probe = async (): Promise<void> => {
    try {
      await findAddress(cluster, node, gone.signal);
      failures = 0;
    } catch {
      if (++failures >= WATCH_FAILURES) gone.abort(new Error("it stopped answering in the middle"));
    }
  };
  return setInterval(() => void probe(), WATCH_INTERVAL_MS);
}

/** The same answer; the watch ends with its body. */
function watched(response: Response, watch: Watch): Response {
  if (response.body === null) {
    clearInterval(watch);
    return response;
  }
  const reader = response.body.getReader();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (!done) return controller.enqueue(value);
        clearInterval(watch);
        controller.close();
      } catch (error) {
        clearInterval(watch);
        controller.error(error);
      }
    },
    async cancel(reason) {
      clearInterval(watch);
      await reader.cancel(reason);
    },
  });
  const { status, headers } = response;
  return new Response(body, { status, headers });
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
