/**
 * One HTTPS request to a member, over TLS that trusts the cluster's authority and nothing else.
 *
 * No connection is kept: what a former request was willing to trust must not carry the next one.
 */
import type { PeerCertificate } from "node:tls";

/** Where and how to call. */
export interface TlsCall {
  address: string;
  port: number;
  path: string;
  method: string;
  body?: string;
  headers?: Record<string, string>;
  /** PEM of the only authority that is believed; null only to fetch that very authority, which a fingerprint then proves. */
  authority: string | null;
  /** Node name that the server's certificate must have; null takes any member. */
  expect: string | null;
  /** This node's own certificate, for calls as a member. */
  client?: { certificate: string; key: string };
  signal: AbortSignal;
}

/** Starts the request; the answer's body is not read yet. Rejects when the network, the certificate or the deadline refuses. */
export async function tlsCall(call: TlsCall): Promise<Response> {
  const host = call.address.includes(":") ? `[${call.address}]` : call.address;
  const tls = {
    rejectUnauthorized: call.authority !== null,
    ...(call.authority !== null && { ca: call.authority }),
    ...(call.client && { cert: call.client.certificate, key: call.client.key }),
    // Certificates name nodes, not addresses: a node may be dialled at any of them, also behind NAT.
    checkServerIdentity: (_host: string, certificate: PeerCertificate): Error | undefined => {
      const name = certificate.subject.CN;
      if (call.authority === null || call.expect === null || name === call.expect) return undefined;
      return new Error(`the server at ${call.address} is ${String(name)}, not ${call.expect}`);
    },
  };
  return await fetch(`https://${host}:${call.port}${call.path}`, {
    method: call.method,
    headers: { ...(call.body !== undefined && { "content-type": "application/json" }), ...call.headers },
    ...(call.body !== undefined && { body: call.body }),
    redirect: "error",
    keepalive: false,
    // Servers in companies have a proxy in their environment; the cluster is never behind it.
    proxy: false,
    tls,
    signal: call.signal,
    // The signal is the only deadline: answers may be silent for long.
    timeout: false,
  } as RequestInit);
}

/** Reads a whole body as text. Throws RangeError when it is over `limit` bytes. */
export async function readBounded(body: ReadableStream<Uint8Array> | null, limit: number): Promise<string> {
  if (body === null) return "";
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of body) {
    bytes += part.length;
    if (bytes > limit) throw new RangeError(`more than ${limit} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}
