/**
 * HTTPS on the cluster's port: TLS with the node's certificate, asking the caller for its own.
 *
 * The TLS layer lets strangers through the handshake, because a node that wants to join is one; who the caller is,
 * by its certificate, goes with each request, and what is not for strangers is refused before its body is read.
 */
import {
  createServer,
  type Server as HttpServer,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from "node:tls";
import type { Cluster } from "./identity.ts";
import { AUTHORITY_PATH, JOIN_PATH, MAX_JOIN_BYTES } from "./joining.ts";

/** Who calls: a member by its certificate, or nobody known. */
export type Caller = { kind: "member"; node: string } | { kind: "stranger" };
/** Answers one request. */
export type Handler = (request: Request, caller: Caller) => Promise<Response>;

/** Paths that strangers may call. */
const OPEN_PATHS: ReadonlySet<string> = new Set([AUTHORITY_PATH, JOIN_PATH, "/probe"]);
/** A module's files travel in one request. */
const MAX_MEMBER_BYTES = 256 << 20;
const MAX_STRANGERS = 128;
const STRANGER_IDLE_MS = 15_000;

/** The listening server of one node. */
export interface NodeServer {
  /** Stops listening and ends all connections. */
  close(): void;
}

/**
 * Listens on the node's address of every lan that can be bound now; `onTrouble` hears of the others, which are tried again.
 */
export function serveNodes(
  cluster: Cluster,
  handler: Handler,
  onTrouble: (address: string, error: Error) => void,
): NodeServer {
  const members = new Set(Object.keys(cluster.nodes));
  const strangers = new Strangers();
  /** Judged once, at the handshake: a socket that is closing no longer knows its certificate. */
  const callers = new WeakMap<object, Caller>();
  const sockets = new Set<TLSSocket>();
  const http = createServer((incoming, outgoing) => {
    const caller = callers.get(incoming.socket) ?? STRANGER;
    answer(incoming, outgoing, caller, handler).catch((error: unknown) => {
      refuse(outgoing, 500, error instanceof Error ? error.message : String(error));
    });
  });
  const own = cluster.nodes[cluster.node]!;
  const listeners = [...new Set(Object.values(own.addresses).map((lan) => lan.bind))].map((address) =>
    listen(cluster, address, onTrouble, {
      connected(socket) {
        sockets.add(socket);
        strangers.add(socket);
        socket.on("error", () => socket.destroy());
        socket.once("close", () => sockets.delete(socket));
      },
      secured(socket) {
        const caller = callerOf(socket, members);
        callers.set(socket, caller);
        if (caller.kind === "member") strangers.recognise(socket);
        http.emit("connection", socket);
      },
    }),
  );
  return { close: () => closeAll(http, listeners, sockets) };
}

/**
 * Connections of callers that are not known to be members, from the first packet on. They are few, and short when
 * silent; when there are too many the oldest goes, so that no crowd can lock members out.
 */
class Strangers {
  readonly #sockets = new Set<TLSSocket>();

  add(socket: TLSSocket): void {
    const [oldest] = this.#sockets;
    if (oldest !== undefined && this.#sockets.size >= MAX_STRANGERS) {
      this.#sockets.delete(oldest);
      oldest.destroy();
    }
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    socket.setTimeout(STRANGER_IDLE_MS, () => {
      if (this.#sockets.has(socket)) socket.destroy();
    });
  }

  recognise(socket: TLSSocket): void {
    this.#sockets.delete(socket);
    socket.setTimeout(0);
  }
}

function closeAll(
  http: HttpServer,
  listeners: readonly { close(): void }[],
  sockets: ReadonlySet<TLSSocket>,
): void {
  for (const listener of listeners) listener.close();
  for (const socket of sockets) socket.destroy();
  http.close();
}

/** One address. An interface may come up after the node: binding is tried again until closed. */
function listen(
  cluster: Cluster,
  address: string,
  onTrouble: (address: string, error: Error) => void,
  on: { connected(socket: TLSSocket): void; secured(socket: TLSSocket): void },
): { close(): void } {
  let retry: ReturnType<typeof setTimeout> | null = null;
  const { authority, certificate, key } = cluster.credentials;
  const server: TlsServer = createTlsServer(
    { cert: certificate, key, ca: authority, requestCert: true, rejectUnauthorized: false },
    on.secured,
  );
  server.on("connection", on.connected);
  const attempt = () => server.listen(cluster.port, address);
  // A failed handshake is the caller's trouble, and a port scan must not fill the log.
  server.on("tlsClientError", () => {});
  server.on("error", (error: NodeJS.ErrnoException) => {
    onTrouble(address, error);
    if (!server.listening) retry = setTimeout(attempt, 1000);
  });
  attempt();
  return {
    close: () => {
      if (retry !== null) clearTimeout(retry);
      server.close();
    },
  };
}

const STRANGER: Caller = { kind: "stranger" };

/** `authorized` is the TLS library's word that the certificate chains to our authority; membership is cluster.yaml's. */
function callerOf(socket: TLSSocket, members: ReadonlySet<string>): Caller {
  if (!socket.authorized) return STRANGER;
  const { subject }: { subject?: { CN?: unknown } } = socket.getPeerCertificate();
  const name = subject?.CN;
  return typeof name === "string" && members.has(name) ? { kind: "member", node: name } : STRANGER;
}

function refuse(outgoing: ServerResponse, status: number, message: string): void {
  if (outgoing.headersSent) {
    outgoing.destroy();
    return;
  }
  outgoing.writeHead(status, { "content-type": "application/json", connection: "close" });
  outgoing.end(JSON.stringify({ status: 1, message }));
}

async function answer(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  caller: Caller,
  handler: Handler,
): Promise<void> {
  const url = new URL(incoming.url ?? "/", "https://node");
  if (caller.kind === "stranger" && !OPEN_PATHS.has(url.pathname))
    return refuse(outgoing, 401, "only members of the cluster may ask this");
  const limit = caller.kind === "stranger" ? MAX_JOIN_BYTES : MAX_MEMBER_BYTES;
  const body = await readBody(incoming, limit);
  if (body === null) return refuse(outgoing, 413, `the request is over ${limit} bytes`);
  const gone = new AbortController();
  outgoing.once("close", () => gone.abort());
  const headers = new Headers();
  for (const [name, value] of Object.entries(incoming.headers))
    if (typeof value === "string") headers.set(name, value);
  const method = incoming.method ?? "GET";
  const request = new Request(url.href, {
    method,
    headers,
    signal: gone.signal,
    ...(method !== "GET" && method !== "HEAD" && { body }),
  });
  await send(await handler(request, caller), outgoing);
}

async function readBody(incoming: IncomingMessage, limit: number): Promise<Buffer<ArrayBuffer> | null> {
  if (Number(incoming.headers["content-length"] ?? 0) > limit) return null;
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of incoming as AsyncIterable<Uint8Array>) {
    bytes += part.length;
    if (bytes > limit) return null;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

async function send(response: Response, outgoing: ServerResponse): Promise<void> {
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  if (response.body !== null) {
    const reader = response.body.getReader();
    outgoing.once("close", () => void reader.cancel().catch(() => {}));
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      if (outgoing.destroyed) return;
      if (!outgoing.write(part.value)) await drained(outgoing);
    }
  }
  outgoing.end();
}

function drained(outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    outgoing.once("drain", resolve);
    outgoing.once("close", resolve);
  });
}
