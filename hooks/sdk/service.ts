/** A service of this machine: a unit of the service manager, or a program with a pid file. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import process from "node:process";
import { $, Command } from "./shell.ts";
import { standIn } from "./stand_in.ts";
import { waitFor } from "./wait.ts";

/** For a program that the service manager does not know. */
export interface ServiceOptions {
  /** Holds the main process's id, on its first line. */
  pidFile?: string;
  /** Starts it, in the background. */
  start?: Command | string;
  /** Stops it; without, the main process is sent SIGTERM. */
  stop?: Command | string;
  /** How long start and stop may take. Default 60s. */
  timeout?: string;
}

/** Starting and stopping are harmless when it is done already. */
export interface Service {
  start(): Promise<void>;
  /** With `force`, what does not stop in time is killed. */
  stop(options?: { force?: boolean }): Promise<void>;
  restart(): Promise<void>;
  /** A word: active, inactive, failed … */
  status(): Promise<string>;
  isActive(): Promise<boolean>;
}

const SERVICE_TIMEOUT = "60s";

/** The service `name`: a systemd unit (on Windows, a service), unless a pid file is given. Throws when the name is no service's. */
export function service(name: string, options: ServiceOptions = {}): Service {
  if (!/^[A-Za-z0-9][A-Za-z0-9:_.@\\-]*$/.test(name))
    throw new TypeError(`${JSON.stringify(name)} is not a service's name`);
  const base = baseOf(name, options);
  return {
    ...base,
    async restart() {
      await base.stop();
      await base.start();
    },
    isActive: async () => (await base.status()) === "active",
  };
}

/** How it is started, stopped and asked: by a test's stand-in, the service manager, or a pid file. */
function baseOf(name: string, options: ServiceOptions): Base {
  const tested = standIn();
  if (tested)
    return {
      start: async () => void tested.service(name, "start"),
      stop: async () => void tested.service(name, "stop"),
      status: async () => tested.service(name, "status"),
    };
  return options.pidFile === undefined ? managed(name, options) : program(name, options.pidFile, options);
}

/** A service that the system's own manager knows. */
function managed(name: string, options: ServiceOptions): Base {
  return process.platform === "win32" ? windowsService(name, options) : unit(name, options);
}

type Base = Pick<Service, "start" | "stop" | "status">;

/** What sc.exe says about a service: "STATE : 4  RUNNING"; the label is in the system's language. */
const WINDOWS_STATE = /:\s*(\d)\s+(?:STOPPED|RUNNING|PAUSED|(?:START|STOP|PAUSE|CONTINUE)_PENDING)/;
const WINDOWS_STATES: Readonly<Record<string, string>> = {
  "1": "inactive",
  "2": "activating",
  "3": "deactivating",
  "4": "active",
  "7": "paused",
};

/** A Windows service through sc.exe. Written from its documentation: it has not been run on a Windows machine yet. */
function windowsService(name: string, options: ServiceOptions): Base {
  const timeout = options.timeout ?? SERVICE_TIMEOUT;
  const { spawnSync } = process.getBuiltinModule("node:child_process");
  const control = (verb: string) => {
    const { status: exitCode, stdout } = spawnSync("sc.exe", [verb, name], { encoding: "utf8" });
    return { exitCode, text: stdout ?? "" };
  };
  const status = async () =>
    WINDOWS_STATES[WINDOWS_STATE.exec(control("query").text)?.[1] ?? ""] ?? "unknown";
  const until = (wanted: string) =>
    waitFor(async () => (await status()) === wanted, { what: `${name} to be ${wanted}`, timeout });
  const change = async (verb: string, wanted: string) => {
    if ((await status()) === wanted) return;
    const { exitCode, text } = control(verb);
    if (exitCode !== 0)
      throw new Error(`sc.exe ${verb} ${name} failed with exit status ${exitCode}: ${text.trim()}`);
    await until(wanted);
  };
  return {
    status,
    start: () => change("start", "active"),
    async stop({ force = false } = {}) {
      try {
        await change("stop", "inactive");
      } catch (error) {
        const pid = /PID\s*:\s*(\d+)/.exec(control("queryex").text)?.[1];
        if (!force || pid === undefined || pid === "0") throw error;
        spawnSync("taskkill.exe", ["/F", "/T", "/PID", pid]);
        await until("inactive");
      }
    },
  };
}

function unit(name: string, options: ServiceOptions): Base {
  if (!existsSync("/run/systemd/system"))
    throw new Error(
      `there is no systemd here to ask about ${name}: give service() a pidFile and a start command`,
    );
  const timeout = options.timeout ?? SERVICE_TIMEOUT;
  const control = (verb: string) => $`systemctl --no-ask-password ${verb} ${name}`.timeout(timeout);
  return {
    async start() {
      await control("start");
    },
    async stop({ force = false } = {}) {
      try {
        await control("stop");
      } catch (error) {
        if (!force) throw error;
        await $`systemctl --no-ask-password kill --signal=KILL ${name}`;
      }
    },
    status: async () => (await $`systemctl is-active ${name}`.nothrow().text()).trim() || "unknown",
  };
}

function program(name: string, pidFile: string, options: ServiceOptions): Base {
  const timeout = options.timeout ?? SERVICE_TIMEOUT;
  const command = (what: Command | string) => (typeof what === "string" ? new Command(what) : what);
  const status = async () => (living(pidFile) === null ? "inactive" : "active");
  const gone = (limit: string) =>
    waitFor(() => living(pidFile) === null, { what: `the end of ${name}`, timeout: limit, interval: "50ms" });
  return {
    status,
    async start() {
      if (living(pidFile) !== null) return;
      if (options.start === undefined)
        throw new Error(`service ${name} with a pidFile needs a start command`);
      // A pid file that outlived its process would be taken for the new one.
      rmSync(pidFile, { force: true });
      await command(options.start);
      await waitFor(() => living(pidFile) !== null, {
        what: `${name} (${pidFile})`,
        timeout,
        interval: "50ms",
      });
    },
    async stop({ force = false } = {}) {
      const pid = living(pidFile);
      if (pid === null) return;
      try {
        if (options.stop === undefined) process.kill(pid, "SIGTERM");
        else await command(options.stop);
        await gone(timeout);
      } catch (error) {
        if (!force) throw error;
        if (living(pidFile) === pid) process.kill(pid, "SIGKILL");
        await gone("5s");
      }
    },
  };
}

/** The pid in the file if that process lives (a zombie does not), else null. */
function living(pidFile: string): number | null {
  try {
    const pid = Number(readFileSync(pidFile, "utf8").split("\n")[0]);
    if (!Number.isSafeInteger(pid) || pid <= 1) return null;
    return /^\d+ \(.*\) [^ZX] /s.test(readFileSync(`/proc/${pid}/stat`, "latin1")) ? pid : null;
  } catch {
    return null;
  }
}
