/**
 * `Deno.Conn`: one stream socket, read and written when the script asks, not when data happens to arrive.
 */
import type { Socket, SocketHandler } from "bun";
import { readableOf, writableOf } from "./descriptor.ts";
import { denoError, errorOf, errors, osErrorText } from "./errors.ts";
import { bare } from "./file_info.ts";

/** One end of a connection, in Deno's words. */
export type Address =
  | { hostname: string; port: number; transport: "tcp" }
  | { transport: "unix"; path: string | null };

/** The peer is asked to wait while this much was not read. */
const HIGH_WATER = 256 * 1024;

/** What the socket's handlers and the connection share. */
class State {
  chunks: Uint8Array[] = [];
  size = 0;
  ended = false;
  failure: unknown = null;
  handshake = Promise.withResolvers<void>();
  opened = Promise.withResolvers<void>();
  #wake: (() => void)[] = [];

  /** Resolves at the next event. */
  changed(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake.push(resolve);
    return promise;
  }

  notify(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

/** The data of a Bun socket. */
export interface Holder {
  state: State;
}

/** A holder for a new socket. */
export function newHolder(): Holder {
  const state = new State();
  // Nobody may ask for the handshake: its failure is told by read and write too.
  state.handshake.promise.catch(() => undefined);
  state.opened.promise.catch(() => undefined);
  return { state };
}

/** Handlers that collect what happens in the socket's holder. */
export const handlers: SocketHandler<Holder> = {
  open({ data: { state } }) {
    state.opened.resolve();
  },
  data(socket, chunk) {
    const { state } = socket.data;
    state.chunks.push(new Uint8Array(chunk));
    state.size += chunk.length;
    if (state.size > HIGH_WATER) socket.pause();
    state.notify();
  },
  drain({ data: { state } }) {
    state.notify();
  },
  end({ data: { state } }) {
    state.ended = true;
    state.notify();
  },
  error({ data: { state } }, error) {
    state.failure = error;
    state.notify();
  },
  handshake({ data: { state } }, success, error) {
    if (success) state.handshake.resolve();
    else {
      state.failure = new errors.InvalidData(error?.message ?? "the TLS handshake failed");
      state.handshake.reject(state.failure);
    }
    state.notify();
  },
  close({ data: { state } }, error) {
    state.failure ??= error ?? null;
    state.ended = true;
    state.handshake.reject(state.failure ?? new errors.UnexpectedEof("the TLS handshake was cut off"));
    state.opened.reject(state.failure ?? errorOf("ECONNREFUSED", osErrorText("ECONNREFUSED") ?? ""));
    state.notify();
  },
};

/** A connection. `TcpConn`, `UnixConn` and `TlsConn` are what scripts see. */
export class Connection implements Disposable {
  readonly #socket: Socket<Holder>;
  readonly #state: State;
  readonly localAddr: Address;
  readonly remoteAddr: Address;
  #closed = false;
  #finished = false;

  constructor(socket: Socket<Holder>, localAddr: Address, remoteAddr: Address) {
    this.#socket = socket;
    this.#state = socket.data.state;
    this.localAddr = localAddr;
    this.remoteAddr = remoteAddr;
    hide(this, "localAddr");
    hide(this, "remoteAddr");
  }

  protected get socket(): Socket<Holder> {
    return this.#socket;
  }

  #check(): void {
    if (this.#closed) throw new errors.BadResource("Bad resource ID");
  }

  async read(into: Uint8Array): Promise<number | null> {
    this.#check();
    if (into.length === 0) return 0;
    const state = this.#state;
    while (state.chunks.length === 0) {
      if (state.failure !== null) throw denoError(state.failure);
      if (state.ended) return null;
      await state.changed();
      if (this.#closed) throw new errors.Interrupted("operation canceled");
    }
    const first = state.chunks[0]!;
    const count = Math.min(first.length, into.length);
    into.set(first.subarray(0, count));
    if (count === first.length) state.chunks.shift();
    else state.chunks[0] = first.subarray(count);
    state.size -= count;
    if (state.size <= HIGH_WATER) this.#socket.resume();
    return count;
  }

  async write(bytes: Uint8Array): Promise<number> {
    this.#check();
    if (bytes.length === 0) return 0;
    for (;;) {
      const count = this.#finished ? -1 : this.#socket.write(bytes);
      if (count > 0) return count;
      if (count < 0) throw denoError(this.#state.failure) ?? errorOf("EPIPE", osErrorText("EPIPE") ?? "");
      await this.#state.changed();
      this.#check();
    }
  }

  async closeWrite(): Promise<void> {
    this.#check();
    this.#finished = true;
    this.#socket.shutdown();
  }

  close(): void {
    this.#check();
    this.#closed = true;
    if (!this.#finished) this.#socket.end();
    this.#socket.close();
    this.#state.notify();
  }

  [Symbol.dispose](): void {
    if (!this.#closed) this.close();
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }

  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return readableOf(
      (into) => this.read(into),
      () => this[Symbol.dispose](),
    );
  }

  get writable(): WritableStream<Uint8Array> {
    return writableOf(
      (bytes) => this.write(bytes),
      () => this[Symbol.dispose](),
    );
  }
}

/** A property that is there and is not printed. */
function hide(object: object, name: string): void {
  Object.defineProperty(object, name, { enumerable: false });
}

/** A TCP connection. */
export class TcpConn extends Connection {
  setNoDelay(noDelay = true): void {
    this.socket.setNoDelay(noDelay);
  }

  setKeepAlive(keepAlive = true): void {
    this.socket.setKeepAlive(keepAlive);
  }
}

/** A connection to a Unix socket. */
export class UnixConn extends Connection {}

/** A TLS connection. */
export class TlsConn extends Connection {
  async handshake(): Promise<{ alpnProtocol: string | null }> {
    await this.socket.data.state.handshake.promise;
    const { alpnProtocol } = this.socket;
    return bare({ alpnProtocol: typeof alpnProtocol === "string" ? alpnProtocol : null });
  }
}
