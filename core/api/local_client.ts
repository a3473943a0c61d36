/** The API as the command line calls it: over this machine's Unix socket. */
import { accessSync, constants } from "node:fs";
import type { CommandResult } from "../daemon/engine.ts";
import { splitLines } from "./merge_lines.ts";
import { API_PREFIX } from "./node_client.ts";
import { readResult } from "./result.ts";
import { apiSocket } from "./servers.ts";

/** A request that is silent for this long is doubted: does the daemon run at all? */
const DOUBT_MS = 2000;
/** One that runs answers the smallest question within this; its guardian would have stopped its modules long before. */
const SIGN_OF_LIFE_MS = 5000;

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
    const hung = new AbortController();
    const watch = setInterval(() => void answers(socket).catch(() => hung.abort()), DOUBT_MS);
    try {
      return await fetch(url.href, {
        unix: socket,
        method,
        proxy: false,
        headers: { "x-holdfast-by": userName() },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: signal ? AbortSignal.any([signal, hung.signal]) : hung.signal,
        // A `wait` may be silent for hours.
        timeout: false,
      } as RequestInit);
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new DaemonUnreachable(hung.signal.aborted ? whyHung(socket) : whyUnreachable(socket));
    } finally {
      clearInterval(watch);
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

/** Rejects when the daemon does not even tell the time. */
async function answers(socket: string): Promise<void> {
  const signal = AbortSignal.timeout(SIGN_OF_LIFE_MS);
  await fetch(`http://node${API_PREFIX}/clock`, { unix: socket, proxy: false, signal } as RequestInit);
}

function whyHung(socket: string): string {
  return `the node's daemon hangs or was stopped: it takes questions on ${socket} and answers none. When that lasts, its guardian stops this node's modules, and other nodes take over. To start it anew: systemctl restart holdfast (without systemd: kill -9 the process "holdfast daemon", then start it)`;
}

function whyUnreachable(socket: string): string {
  try {
    accessSync(socket, constants.W_OK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EACCES")
      return `only its owner may ask the node's daemon on ${socket}: use sudo, or name another directory with --var`;
  }
  return `the node's daemon does not answer on ${socket}: start it (systemctl start holdfast; without systemd: holdfast daemon), or name its directory with --var. Why it ended: journalctl -u holdfast`;
}

/** For the log: who typed it. Only a name; the socket's mode is what lets in. */
function userName(): string {
  return process.env["SUDO_USER"] ?? process.env["USER"] ?? "";
}
