/**
 * HTTPS that asks the caller for a certificate: the TLS layer lets strangers through the handshake, and who the caller is goes with each request. What is not
 * for strangers is refused before its body is read.
 */
import {
  createServer,
  type Server as HttpServer,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from "node:tls";

/** What is served, and to whom. */
export interface TlsService<Caller> {
  /** Addresses of this machine, and one port on all of them. */
  addresses: readonly string[];
  port: number;
  /** PEM: this server's own. */
  certificate: string;
  key: string;
  /** PEM: callers with a certificate of this authority are `authorized`. */
  authority?: string;
  /** Who calls; null: a stranger. Asked once, at the handshake: a socket that is closing no longer knows its certificate. */
  recognise(socket: TLSSocket): Caller | null;
  /** Paths that strangers may call. */
  openPaths: ReadonlySet<string>;
  /** Most bytes of a request's body. */
  limits: { stranger: number; known: number };
  handler(request: Request, caller: Caller | null): Promise<Response>;
  /** An address cannot be bound now; it is tried again. */
  onTrouble(address: string, error: Error): void;
}

/** A listening server. */
export interface TlsListener {
  /** Stops listening and ends all connections. */
  close(): void;
}

const MAX_STRANGERS = 128;
const STRANGER_IDLE_MS = 15_000;

/** Listens on every address that can be bound now, and on the others as soon as they can. */
export function serveTls<Caller>(service: TlsService<Caller>): TlsListener {
  const strangers = new Strangers();
  const callers = new WeakMap<object, Caller>();
  const sockets = new Set<TLSSocket>();
  const http = createServer((incoming, outgoing) => {
    const caller = callers.get(incoming.socket) ?? null;
    answer(incoming, outgoing, caller, service).catch((error: unknown) => {
      refuse(outgoing, 500, error instanceof Error ? error.message : String(error));
    });
  });
  const listeners = [...new Set(service.addresses)].map((address) =>
    listen(service, address, {
      connected(socket) {
        sockets.add(socket);
        strangers.add(socket);
        socket.on("error", () => socket.destroy());
        socket.once("close", () => sockets.delete(socket));
      },
      secured(socket) {
        const caller = service.recognise(socket);
        if (caller !== null) {
          callers.set(socket, caller);
          strangers.recognise(socket);
        }
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
function listen<Caller>(
  { authority, certificate, key, port, onTrouble }: TlsService<Caller>,
  address: string,
  on: { connected(socket: TLSSocket): void; secured(socket: TLSSocket): void },
): { close(): void } {
  let retry: ReturnType<typeof setTimeout> | null = null;
  const server: TlsServer = createTlsServer(
    {
      cert: certificate,
      key,
      ...(authority !== undefined && { ca: authority }),
      requestCert: true,
      rejectUnauthorized: false,
    },
    on.secured,
  );
  server.on("connection", on.connected);
  const attempt = () => server.listen(port, address);
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

function refuse(outgoing: ServerResponse, status: number, message: string): void {
  if (outgoing.headersSent) {
    outgoing.destroy();
    return;
  }
  outgoing.writeHead(status, { "content-type": "application/json", connection: "close" });
  outgoing.end(JSON.stringify({ status: 1, message }));
}

async function answer<Caller>(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  caller: Caller | null,
  { openPaths, limits, handler }: TlsService<Caller>,
): Promise<void> {
  const url = new URL(incoming.url ?? "/", "https://node");
  if (caller === null && !openPaths.has(url.pathname))
    return refuse(outgoing, 401, "only members of the cluster may ask this");
  const limit = caller === null ? limits.stranger : limits.known;
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
