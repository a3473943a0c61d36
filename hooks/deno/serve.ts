/** `Deno.serve`: an HTTP server. */
import { existsSync, unlinkSync } from "node:fs";
import type { Server } from "bun";
import type { Address } from "./connection.ts";
import { denoError } from "./errors.ts";
import { tcpAddress } from "./network.ts";

type Handler = (
  request: Request,
  info: { remoteAddr: Address; completed: Promise<void> },
) => Response | Promise<Response>;

interface ServeOptions {
  transport?: "tcp" | "unix";
  port?: number;
  hostname?: string;
  reusePort?: boolean;
  path?: string;
  key?: string;
  cert?: string;
  signal?: AbortSignal;
  onError?: (error: unknown) => Response | Promise<Response>;
  onListen?: (address: Address) => void;
  handler?: Handler;
}

/** What `Deno.serve` returns. */
interface HttpServer extends AsyncDisposable {
  addr: Address;
  finished: Promise<void>;
  shutdown(): Promise<void>;
  ref(): void;
  unref(): void;
}

const DEFAULT_PORT = 8000;

function parse(first: Handler | ServeOptions, second?: Handler): { options: ServeOptions; handler: Handler } {
  const options = typeof first === "function" ? {} : first;
  const handler = typeof first === "function" ? first : (second ?? first.handler);
  if (typeof handler !== "function")
    throw new TypeError(
      `Cannot serve HTTP requests: handler must be a function, received ${String(handler)}`,
    );
  return { options, handler };
}

function tellListening(address: Address, secure: boolean): void {
  if (address.transport === "unix") {
    console.error(`Listening on ${address.path}`);
    return;
  }
  const host = address.hostname.includes(":") ? `[${address.hostname}]` : address.hostname;
  const url = (name: string) => `http${secure ? "s" : ""}://${name}:${address.port}/`;
  const local = host === "0.0.0.0" || host === "[::]" ? ` (${url("localhost")})` : "";
  console.error(`Listening on ${url(host)}${local}`);
}

/** Calls the handler; what goes wrong in it becomes an answer. */
async function answer(
  { onError }: ServeOptions,
  handle: () => Response | Promise<Response>,
): Promise<Response> {
  try {
    const response: unknown = await handle();
    if (response instanceof Response) return response;
    throw new TypeError(
      "Return value from serve handler must be a response or a promise resolving to a response",
    );
  } catch (error) {
    if (onError !== undefined) return await onError(error);
    console.error(error);
    return new Response("Internal Server Error", { status: 500 });
  }
}

function start(options: ServeOptions, handler: Handler): { server: Server<undefined>; addr: Address } {
  const fetch = (request: Request, server: Server<undefined>) => {
    const from = server.requestIP(request);
    const remoteAddr: Address = from
      ? tcpAddress(from.address, from.port)
      : { transport: "unix", path: null };
    const { promise, resolve } = Promise.withResolvers<void>();
    return answer(options, () => handler(request, { remoteAddr, completed: promise })).finally(resolve);
  };
  const { path, hostname = "0.0.0.0", port = DEFAULT_PORT, reusePort = false, key, cert } = options;
  if (path !== undefined) {
    const server = Bun.serve({ unix: path, fetch, development: false });
    return { server, addr: { transport: "unix", path } };
  }
  const tls = key === undefined || cert === undefined ? {} : { tls: { key, cert } };
  const server = Bun.serve({ hostname, port, reusePort, idleTimeout: 0, fetch, development: false, ...tls });
  return {
    server,
    addr: tcpAddress(hostname === "localhost" ? "127.0.0.1" : hostname, server.port ?? port),
  };
}

/** `Deno.serve(handler)`, `Deno.serve(options, handler)`, `Deno.serve({ handler, … })`. */
export function serve(first: Handler | ServeOptions, second?: Handler): HttpServer {
  const { options, handler } = parse(first, second);
  let started: ReturnType<typeof start>;
  try {
    started = start(options, handler);
  } catch (error) {
    throw denoError(error);
  }
  const { server, addr } = started;
  const { promise: finished, resolve } = Promise.withResolvers<void>();
  const end = async (atOnce: boolean): Promise<void> => {
    await server.stop(atOnce);
    if (addr.transport === "unix" && addr.path !== null && existsSync(addr.path)) unlinkSync(addr.path);
    resolve();
    await finished;
  };
  options.signal?.addEventListener("abort", () => void end(true), { once: true });
  if (options.onListen) options.onListen(addr);
  else tellListening(addr, options.key !== undefined);
  return {
    addr,
    finished,
    shutdown: async () => await end(false),
    ref: () => server.ref(),
    unref: () => server.unref(),
    [Symbol.asyncDispose]: async () => await end(false),
  };
}
