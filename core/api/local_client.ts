/** The API as the command line calls it: over this machine's Unix socket. */
import type { CommandResult } from "../daemon/engine.ts";
import { splitLines } from "./merge_lines.ts";
import { API_PREFIX } from "./node_client.ts";
import { readResult } from "./result.ts";
import { apiSocket } from "./servers.ts";

/** Which nodes a request means: none is the local one, null likewise. */
export type Target = { node?: string | null; all?: boolean };

/** The daemon of this var directory does not answer: exit status 3. */
export class DaemonUnreachable extends Error {
  readonly status = 3;
}

/** The node refused to stream. `status` is the exit status of the command line. */
export class ApiRefusal extends Error {
  readonly status: CommandResult["status"];

  constructor(status: CommandResult["status"], message: string) {
    super(message);
    this.status = status;
  }
}

/** An answer: HTTP's status and the JSON body. */
export interface ApiAnswer {
  ok: boolean;
  httpStatus: number;
  body: unknown;
}

/** Calls to one daemon. All reject with DaemonUnreachable when it does not answer. */
export interface LocalApi {
  /** `path` without the prefix, such as `/modules/db/command`. */
  call(
    method: string,
    path: string,
    body?: unknown,
    target?: Target,
    signal?: AbortSignal,
  ): Promise<ApiAnswer>;
  /** Lines of a stream, such as `/log?follow=true`, parsed. Throws ApiRefusal when the node refuses. */
  stream(path: string, target?: Target, signal?: AbortSignal): AsyncGenerator<unknown>;
}

/** The daemon that works with `varDir`. */
export function localApi(varDir: string): LocalApi {
  const socket = apiSocket(varDir);
  const request = async (
    method: string,
    path: string,
    body: unknown,
    target: Target = {},
    signal?: AbortSignal,
  ): Promise<Response> => {
    const node = target.all === true ? "all" : target.node;
    const url = new URL(`http://node${API_PREFIX}${path}`);
    if (node) url.searchParams.set("node", node);
    try {
      return await fetch(url.href, {
        unix: socket,
        method,
        proxy: false,
        headers: { "x-holdfast-by": userName() },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        ...(signal && { signal }),
        // A `wait` may be silent for hours.
        timeout: false,
      } as RequestInit);
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new DaemonUnreachable(
        `the node's daemon does not answer on ${socket}: start it with "holdfast daemon", or name its directory with --var`,
      );
    }
  };
  return {
    async call(method, path, body, target, signal) {
      const response = await request(method, path, body, target, signal);
      return { ok: response.ok, httpStatus: response.status, body: await response.json() };
    },
    async *stream(path, target, signal) {
      const response = await request("GET", path, undefined, target, signal);
      if (!response.ok) {
        const { status, message } = readResult(await response.text());
        throw new ApiRefusal(status, message);
      }
      if (response.body)
        for await (const line of splitLines(response.body))
          if (line !== "") yield JSON.parse(line) as unknown;
    },
  };
}

/** For the log: who typed it. Only a name; the socket's mode is what lets in. */
function userName(): string {
  return process.env["SUDO_USER"] ?? process.env["USER"] ?? "";
}
