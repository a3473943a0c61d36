/** `Deno.connect`, `connectTls`, `listen` and `listenTls`. */
import { existsSync, unlinkSync } from "node:fs";
import type { Socket, SocketListener, TLSOptions } from "bun";
import {
  type Address,
  type Connection,
  type Holder,
  handlers,
  newHolder,
  TcpConn,
  TlsConn,
  UnixConn,
} from "./connection.ts";
import { denoError, errorOf, errors, osErrorText } from "./errors.ts";
import { bare } from "./file_info.ts";

interface TcpOptions {
  transport?: "tcp";
  port?: number;
  hostname?: string;
  reusePort?: boolean;
  signal?: AbortSignal;
}

interface UnixOptions {
  transport: "unix";
  path: string;
}

interface KeyPair {
  key?: string;
  cert?: string;
}

interface TlsConnectOptions extends TcpOptions, KeyPair {
  caCerts?: string[];
  alpnProtocols?: string[];
  unsafelyDisableHostnameVerification?: boolean;
}

/** A TCP address as Deno gives it. */
export const tcpAddress = (hostname: string, port: number): Address =>
  bare({ hostname, port, transport: "tcp" as const });

function checkedPort(port: number): number {
  if (!(Number.isInteger(port) && port >= 0 && port <= 65_535))
    throw new RangeError(`Invalid port (out of range): ${port}`);
  return port;
}

function refuseTransport(options: object): void {
  const transport: unknown = "transport" in options ? options.transport : undefined;
  if (transport !== undefined && transport !== "tcp" && transport !== "unix")
    throw new errors.NotSupported(`the transport ${String(transport)} is not supported here: tcp, unix`);
}

/** Names of protocols as TLS writes them: each after its length (RFC 7301). */
function alpn(protocols: readonly string[] | undefined): { ALPNProtocols?: Uint8Array } {
  if (protocols === undefined) return {};
  const bytes = protocols.flatMap((name) => [Buffer.byteLength(name), ...Buffer.from(name)]);
  return { ALPNProtocols: new Uint8Array(bytes) };
}

/** What Bun says when a socket cannot be made, in Deno's words. */
function socketError(error: unknown): unknown {
  if (!(error instanceof Error) || !("code" in error)) return error;
  if (error.code === "DNSException" || /ENOTFOUND|EAI_/.test(`${String(error.code)} ${error.message}`))
    return new Error("failed to lookup address information: Name or service not known");
  return denoError(error);
}

function ends(socket: Socket<Holder>): [local: Address, remote: Address] {
  return [
    tcpAddress(socket.localAddress, socket.localPort),
    tcpAddress(socket.remoteAddress, socket.remotePort),
  ];
}

async function opened(options: TcpOptions, tls?: TLSOptions): Promise<Socket<Holder>> {
  const { hostname = "127.0.0.1", signal } = options;
  const port = checkedPort(options.port ?? 0);
  signal?.throwIfAborted();
  try {
    const socket = await Bun.connect<Holder>({
      hostname,
      port,
      data: newHolder(),
      socket: handlers,
      allowHalfOpen: true,
      ...(tls === undefined ? {} : { tls }),
    });
    signal?.throwIfAborted();
    return socket;
  } catch (error) {
    throw socketError(error);
  }
}

/** `Deno.connect`. */
export async function connect(options: TcpOptions | UnixOptions): Promise<Connection> {
  refuseTransport(options);
  if (options.transport !== "unix") {
    const socket = await opened(options);
    return new TcpConn(socket, ...ends(socket));
  }
  const { path } = options;
  if (!existsSync(path)) throw errorOf("ENOENT", osErrorText("ENOENT") ?? "");
  try {
    const socket = await Bun.connect<Holder>({
      unix: path,
      data: newHolder(),
      socket: handlers,
      allowHalfOpen: true,
    });
    return new UnixConn(socket, { transport: "unix", path: null }, { transport: "unix", path });
  } catch (error) {
    throw socketError(error);
  }
}

/** `Deno.connectTls`. */
export async function connectTls(options: TlsConnectOptions): Promise<TlsConn> {
  const { hostname = "127.0.0.1", caCerts, alpnProtocols, key, cert } = options;
  const socket = await opened(options, {
    serverName: hostname,
    rejectUnauthorized: true,
    ...(caCerts === undefined ? {} : { ca: caCerts }),
    ...alpn(alpnProtocols),
    ...(key === undefined || cert === undefined ? {} : { key, cert }),
    ...(options.unsafelyDisableHostnameVerification ? { checkServerIdentity: () => undefined } : {}),
  });
  return new TlsConn(socket, ...ends(socket));
}

/** What listens: `for await (const connection of listener)`, or `accept`. */
class Listener<Conn extends Connection> implements Disposable {
  // The bundler renames what has a name that is taken; scripts see this one.
  static {
    Object.defineProperty(Listener, "name", { value: "Listener" });
  }
  readonly #listener: SocketListener<Holder>;
  readonly #waiting: Conn[] = [];
  readonly #asked: { resolve(conn: Conn): void; reject(error: unknown): void }[] = [];
  readonly #path: string | null;
  readonly addr: Address;
  #closed = false;

  constructor(
    start: (accepted: (socket: Socket<Holder>) => void) => {
      listener: SocketListener<Holder>;
      addr: Address;
    },
    connection: (socket: Socket<Holder>) => Conn,
    path: string | null = null,
  ) {
    const { listener, addr } = start((socket) => {
      const conn = connection(socket);
      const asked = this.#asked.shift();
      if (asked) asked.resolve(conn);
      else this.#waiting.push(conn);
    });
    this.#listener = listener;
    this.#path = path;
    this.addr = addr;
    Object.defineProperty(this, "addr", { enumerable: false });
  }

  async accept(): Promise<Conn> {
    const waiting = this.#waiting.shift();
    if (waiting) return waiting;
    if (this.#closed) throw new errors.BadResource("Listener has been closed");
    const { promise, resolve, reject } = Promise.withResolvers<Conn>();
    this.#asked.push({ resolve, reject });
    return await promise;
  }

  close(): void {
    if (this.#closed) throw new errors.BadResource("Bad resource ID");
    this.#closed = true;
    this.#listener.stop();
    if (this.#path !== null && existsSync(this.#path)) unlinkSync(this.#path);
    for (const conn of this.#waiting.splice(0)) conn[Symbol.dispose]();
    for (const { reject } of this.#asked.splice(0))
      reject(new errors.BadResource("Listener has been closed"));
  }

  [Symbol.dispose](): void {
    if (!this.#closed) this.close();
  }

  ref(): void {
    this.#listener.ref();
  }

  unref(): void {
    this.#listener.unref();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Conn> {
    try {
      for (;;) yield await this.accept();
    } catch (error) {
      // The end of a listener is the end of the loop over it.
      if (!(error instanceof errors.BadResource)) throw error;
    } finally {
      // And the other way round.
      this[Symbol.dispose]();
    }
  }
}

/** Handlers of a listener: each socket gets its own holder, then counts as accepted. */
function accepting(accepted: (socket: Socket<Holder>) => void) {
  return {
    ...handlers,
    open(socket: Socket<Holder>) {
      socket.data = newHolder();
      accepted(socket);
    },
  };
}

function listenTcp<Conn extends Connection>(
  options: TcpOptions,
  connection: (socket: Socket<Holder>) => Conn,
  tls?: TLSOptions,
): Listener<Conn> {
  const { hostname = "0.0.0.0", reusePort } = options;
  const port = checkedPort(options.port ?? 0);
  try {
    return new Listener((accepted) => {
      const listener = Bun.listen<Holder>({
        hostname,
        port,
        data: newHolder(),
        socket: accepting(accepted),
        allowHalfOpen: true,
        exclusive: reusePort !== true,
        ...(tls === undefined ? {} : { tls }),
      });
      return { listener, addr: tcpAddress(hostname === "localhost" ? "127.0.0.1" : hostname, listener.port) };
    }, connection);
  } catch (error) {
    throw socketError(error);
  }
}

/** `Deno.listen`. */
export function listen(options: TcpOptions | UnixOptions): Listener<Connection> {
  refuseTransport(options);
  if (options.transport !== "unix")
    return listenTcp<Connection>(options, (socket) => new TcpConn(socket, ...ends(socket)));
  const { path } = options;
  if (existsSync(path)) throw errorOf("EADDRINUSE", osErrorText("EADDRINUSE") ?? "");
  const addr = { transport: "unix" as const, path };
  const other = { transport: "unix" as const, path: null };
  try {
    return new Listener<Connection>(
      (accepted) => ({
        listener: Bun.listen<Holder>({
          unix: path,
          data: newHolder(),
          socket: accepting(accepted),
          allowHalfOpen: true,
        }),
        addr,
      }),
      (socket) => new UnixConn(socket, addr, other),
      path,
    );
  } catch (error) {
    throw socketError(error);
  }
}

/** `Deno.listenTls`. */
export function listenTls(options: TcpOptions & KeyPair & { alpnProtocols?: string[] }): Listener<TlsConn> {
  const { key, cert, alpnProtocols } = options;
  if (key === undefined || cert === undefined)
    throw new TypeError("A key and certificate are required for `Deno.listenTls`");
  return listenTcp(options, (socket) => new TlsConn(socket, ...ends(socket)), {
    key,
    cert,
    ...alpn(alpnProtocols),
  });
}
