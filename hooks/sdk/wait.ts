/** Waiting for something to be true, with a deadline and a reason. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import process from "node:process";
import { formatDuration, parseDuration } from "../../modules/units.ts";
import { pause } from "./shell.ts";
import { standIn } from "./stand_in.ts";

/** How long, and how often. */
export interface WaitOptions {
  /** Default 60s. */
  timeout?: string;
  /** Default 200ms. */
  interval?: string;
  signal?: AbortSignal;
}

/** Waits for what only a real machine has; a made-up one says at once whether it is there. */
async function untilThere(what: string, probe: Probe, options: WaitOptions): Promise<void> {
  const tested = standIn();
  if (!tested) return await until(what, probe, options);
  const reason = tested.wait(what);
  if (reason !== "") throw new Error(`waited ${options.timeout ?? WAIT_TIMEOUT} for ${what}: ${reason}`);
}

/** "" when it is so, else why not. */
type Probe = (budgetMs: number) => string | Promise<string>;

const WAIT_TIMEOUT = "60s";
const WAIT_INTERVAL = "200ms";
const PROBE_LIMIT_MS = 5000;

async function until(what: string, probe: Probe, options: WaitOptions): Promise<void> {
  const timeoutMs = parseDuration(options.timeout ?? WAIT_TIMEOUT);
  const intervalMs = parseDuration(options.interval ?? WAIT_INTERVAL);
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    options.signal?.throwIfAborted();
    let reason: string;
    try {
      reason = await probe(Math.max(1, Math.min(PROBE_LIMIT_MS, deadline - performance.now())));
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
    }
    if (reason === "") return;
    if (performance.now() + intervalMs >= deadline)
      throw new Error(`waited ${formatDuration(timeoutMs)} for ${what}: ${reason}`);
    await pause(intervalMs);
  }
}

function hostAndPort(address: string | number): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d+)$/.exec(
    typeof address === "number" ? `127.0.0.1:${address}` : address,
  );
  const port = Number(match?.[3]);
  if (!match || !(port >= 1 && port <= 65_535))
    throw new TypeError(`${JSON.stringify(address)} is not an address and a port, such as 127.0.0.1:5432`);
  return { host: match[1] ?? match[2] ?? "127.0.0.1", port };
}

function probeTcp(host: string, port: number, budgetMs: number): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = connect({ host, port });
  const timer = setTimeout(() => resolve("no answer"), budgetMs);
  socket.once("connect", () => resolve(""));
  socket.once("error", (error) => resolve(error.message || "refused"));
  return promise.finally(() => {
    clearTimeout(timer);
    socket.destroy();
  });
}

function runs(pattern: RegExp): boolean {
  return readdirSync("/proc").some((entry) => {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) return false;
    try {
      return pattern.test(readFileSync(`/proc/${entry}/cmdline`, "utf8").replaceAll("\0", " ").trim());
    } catch {
      return false;
    }
  });
}

/**
 * Waits until `condition` is true (a throw counts as false, and is the reason at the deadline). `waitFor.tcp`, `.http`,
 * `.file` and `.process` wait for the usual things. Throws at the deadline.
 */
export const waitFor = Object.assign(
  (condition: () => unknown, options: WaitOptions & { what?: string } = {}) =>
    until(options.what ?? "a condition", async () => ((await condition()) ? "" : "not yet"), options),
  {
    /** A TCP port that accepts: "127.0.0.1:5432", or a port of this machine. */
    tcp(address: string | number, options: WaitOptions = {}): Promise<void> {
      const { host, port } = hostAndPort(address);
      return untilThere(`${host}:${port}`, (budgetMs) => probeTcp(host, port, budgetMs), options);
    },
    /** An address that answers with a status below 400, or with `status`. */
    http(url: string, options: WaitOptions & { status?: number } = {}): Promise<void> {
      const good = (status: number) =>
        options.status === undefined ? status < 400 : status === options.status;
      return untilThere(
        url,
        async (budgetMs) => {
          const response = await fetch(url, { signal: AbortSignal.timeout(budgetMs), redirect: "manual" });
          await response.body?.cancel();
          return good(response.status) ? "" : `status ${response.status}`;
        },
        options,
      );
    },
    /** A file or directory that exists; `gone: true` waits until it does not. */
    file(path: string, options: WaitOptions & { gone?: boolean } = {}): Promise<void> {
      const gone = options.gone === true;
      return until(
        path,
        () => (existsSync(path) === !gone ? "" : gone ? "it is still there" : "it is not there"),
        options,
      );
    },
    /** A process whose command line matches; `gone: true` waits until none does. */
    process(pattern: RegExp, options: WaitOptions & { gone?: boolean } = {}): Promise<void> {
      const gone = options.gone === true;
      return untilThere(
        `a process ${String(pattern)}`,
        () => (runs(pattern) === !gone ? "" : gone ? "it still runs" : "none runs"),
        options,
      );
    },
  },
);

/** Calls `attempt` until it does not throw: 3 times, 1s apart, unless told otherwise. Throws the last error. */
export async function retry<Result>(
  attempt: (number: number) => Result | Promise<Result>,
  options: { attempts?: number; delay?: string; factor?: number } = {},
): Promise<Result> {
  const attempts = options.attempts ?? 3;
  let delayMs = parseDuration(options.delay ?? "1s");
  for (let number = 1; ; number++) {
    try {
      return await attempt(number);
    } catch (error) {
      if (number >= attempts) throw error;
    }
    await pause(delayMs);
    delayMs *= options.factor ?? 1;
  }
}
