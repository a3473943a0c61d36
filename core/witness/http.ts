/**
 * One HTTP request to a witness that is somebody else's server: bounded in time and size, following nothing, through no proxy.
 */
import { readBounded } from "../cluster/tls_call.ts";

/** No answer that we ask for is longer. */
const MAX_ANSWER_BYTES = 64 * 1024;

/** Where and how to call. `tls`: PEM; what is left out is the system's. */
export interface HttpCall {
  url: string;
  method: "GET" | "PUT" | "POST" | "DELETE";
  headers?: Readonly<Record<string, string>>;
  body?: string;
  tls?: TlsOptions;
  signal: AbortSignal;
}

/** Whom to believe, and who this is. PEM. */
export interface TlsOptions {
  ca?: string;
  cert?: string;
  key?: string;
}

/** The whole answer. */
export interface HttpAnswer {
  status: number;
  headers: Headers;
  text: string;
}

/** Rejects when the network, the certificate, the deadline or the size refuses. */
export async function httpCall({ url, method, headers, body, tls, signal }: HttpCall): Promise<HttpAnswer> {
  const response = await fetch(url, {
    method,
    headers: { ...headers },
    ...(body !== undefined && { body }),
    redirect: "error",
    // A connection to a server that stood still, or was replaced, must not carry the next request.
    keepalive: false,
    proxy: false,
    // Said here, since NODE_TLS_REJECT_UNAUTHORIZED of whoever started the daemon must not decide it.
    tls: { rejectUnauthorized: true, ...tls },
    signal,
    timeout: false,
  } as RequestInit);
  return {
    status: response.status,
    headers: response.headers,
    text: await readBounded(response.body, MAX_ANSWER_BYTES),
  };
}

/** What went wrong, in few words and on one line. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === "TimeoutError" || error.name === "AbortError") return "no answer in time";
  return error.message.split("\n")[0]!.slice(0, 200);
}

/** How much of a call's time each of several servers gets, ms, in the order in which they are asked: half of what is left, and the last all of it. */
export function shares(deadlineMs: number, servers: number): number[] {
  return Array.from({ length: servers }, (_, n) => deadlineMs / 2 ** Math.min(n + 1, servers - 1));
}
