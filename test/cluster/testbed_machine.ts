/**
 * One machine of the testbed: a network, mount, pid, cgroup and host name of its own, and processes inside.
 *
 * Process 1 of the machine is a shell that reaps orphans and ends when its standard input closes, so that a test that
 * dies takes its machines along. `--norc`, since bash reads ~/.bashrc when its standard input is a socket.
 */
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import type { Subprocess } from "bun";

/** How a command ended. */
export interface Ended {
  status: number;
  stdout: string;
  stderr: string;
}

/** Options of `exec` and `spawn`. */
export interface CommandOptions {
  /** Working directory on the machine; default `/`. */
  cwd?: string;
  env?: Record<string, string>;
  /** Text for standard input. */
  input?: string;
  /** `exec` throws when the command fails, unless this is set. */
  mayFail?: boolean;
  /** `exec` kills the command after this many ms; default 120 s. */
  timeoutMs?: number;
  /** File (outside the machine) that takes stdout and stderr of `spawn`. */
  log?: string;
}

/** A process on a machine, as this test sees it: `pid` counts here, not on the machine. */
export class MachineProcess {
  readonly pid: number;
  /** The process that waits for it outside. */
  readonly #outer: Subprocess;
  constructor(outer: Subprocess, pid: number) {
    this.#outer = outer;
    this.pid = pid;
  }
  /** Exit status, 128 + signal when killed. */
  get exited(): Promise<number> {
    return this.#outer.exited;
  }
  /** Standard output; only without `log`. */
  get stdout(): ReadableStream<Uint8Array> {
    return this.#outer.stdout as ReadableStream<Uint8Array>;
  }
  /** Sends a signal to the process itself; one that is gone is no error. */
  signal(name: NodeJS.Signals): void {
    sendSignal(this.pid, name);
    // nsenter stops itself when its child stops, and would not report the end of a child that was continued.
    if (name === "SIGCONT") sendSignal(this.#outer.pid, name);
  }
}

/** Sends a signal; a process that is gone is no error. */
export function sendSignal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Runs a command on this machine (not in a namespace); throws with its output when it fails. */
export async function run(argv: string[], input = ""): Promise<string> {
  const child = Bun.spawn(argv, { stdin: Buffer.from(input), stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (status !== 0) throw new Error(`${argv.join(" ")}: status ${status}\n${stdout}${stderr}`);
  return stdout;
}

/** Who waits for longer than this, ms, looks less often: what is waited for needs the processor itself. */
const SOON = 1000;
const SELDOM = 100;

/** Waits until `probe` returns something other than null, false or undefined; throws after `timeoutMs`. */
export async function until<T>(
  what: string,
  probe: () => T | Promise<T>,
  timeoutMs = 20_000,
  everyMs = 20,
): Promise<NonNullable<T>> {
  const began = performance.now();
  const deadline = began + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== null && value !== undefined && value !== false) return value;
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain: ${what}`);
    await Bun.sleep(performance.now() - began < SOON ? everyMs : Math.max(everyMs, SELDOM));
  }
}

/** The first child of a process, or null. */
export function childOf(pid: number): number | null {
  try {
    const first = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ")[0];
    return first ? Number(first) : null;
  } catch {
    return null;
  }
}

/** What a machine is made of. */
export interface MachineSpec {
  name: string;
  /** Process 1 of the testbed, in whose namespaces the machine is made. */
  hub: number;
  /** Directory of the machine in the cgroup v2 hierarchy, or null where there is none. */
  cgroup: string | null;
  cgroupMount: string | null;
  /** ext4 image and where it is mounted, or null for a machine without disk. */
  disk: { image: string; mountPoint: string } | null;
}

/** How long output is still read after a command's end, ms. */
const OUTPUT_GRACE_MS = 500;
const NAMESPACES = ["--mount", "--net", "--pid", "--uts"];

/** The script of process 1. Every line runs inside the new namespaces. */
function initScript(spec: MachineSpec): string {
  return [
    "set -e",
    `hostname ${spec.name}`,
    "mount -t proc proc /proc",
    "mount -t tmpfs tmpfs /run",
    "mkdir -m 1777 /run/lock /run/shm",
    "if id postgres >/dev/null 2>&1; then install -d -o postgres -g postgres -m 2775 /run/postgresql; fi",
    ...(spec.cgroup ? [`umount ${spec.cgroupMount}`, `mount -t cgroup2 cgroup2 ${spec.cgroupMount}`] : []),
    ...(spec.disk
      ? [
          `mount -o loop ${spec.disk.image} ${spec.disk.mountPoint}`,
          `mkdir -p ${spec.disk.mountPoint}/var ${spec.disk.mountPoint}/data`,
        ]
      : []),
    "ip link set lo up",
    "set +e",
    "echo ready",
    "read -r _",
  ].join("\n");
}

/** A machine that is switched on. */
export class Machine {
  readonly spec: MachineSpec;
  /** What waits outside for each spawned command. */
  readonly #outers: Subprocess[] = [];
  /** Its process 1, as seen from here. */
  readonly pid: number;
  readonly #outer: Subprocess;

  private constructor(spec: MachineSpec, pid: number, outer: Subprocess) {
    this.spec = spec;
    this.pid = pid;
    this.#outer = outer;
  }

  /** Makes the namespaces, mounts the disk, and returns when process 1 runs. */
  static async boot(spec: MachineSpec): Promise<Machine> {
    const inCgroup = spec.cgroup ? `mkdir -p ${spec.cgroup} && echo 0 > ${spec.cgroup}/cgroup.procs;` : "";
    const unshare = ["unshare", ...NAMESPACES, ...(spec.cgroup ? ["--cgroup"] : [])].join(" ");
    const outer = Bun.spawn(
      [
        ...["nsenter", "--target", `${spec.hub}`, "--mount", "--net", "--pid", "--", "bash", "--norc", "-c"],
        `${inCgroup} exec ${unshare} --propagation private --kill-child bash --norc -c "$1"`,
        ...["machine", initScript(spec)],
      ],
      { stdin: "pipe", stdout: "pipe", stderr: "pipe", cwd: "/", env: machineEnvironment() },
    );
    const reader = outer.stdout.getReader();
    const first = await reader.read();
    if (first.done)
      throw new Error(`machine ${spec.name} did not start: ${await new Response(outer.stderr).text()}`);
    const pid = childOf(childOf(outer.pid) ?? 0);
    if (pid === null) throw new Error(`machine ${spec.name}: process 1 not found`);
    return new Machine(spec, pid, outer);
  }

  /**
   * Lets the outer halves of commands run on: nsenter stops itself when its child is stopped, would not report the end of a child that
   * was continued, nor bury one that was killed, and the namespaces would never be empty.
   */
  wakeOuters(): void {
    for (const outer of this.#outers) if (outer.exitCode === null) sendSignal(outer.pid, "SIGCONT");
  }

  /** Ends every process of the machine at once and waits until its namespaces are empty. */
  async kill(): Promise<void> {
    sendSignal(this.pid, "SIGKILL");
    this.wakeOuters();
    await this.#outer.exited;
  }

  /** The path of a machine's file, as seen from here. Only while it is on. */
  path(path: string): string {
    return `/proc/${this.pid}/root${path}`;
  }

  #command(argv: readonly string[], options: CommandOptions): string[] {
    const enter = ["nsenter", "--target", `${this.pid}`, ...NAMESPACES, `--wdns=${options.cwd ?? "/"}`];
    if (!this.spec.cgroup) return [...enter, "--", ...argv];
    const join = `echo 0 > ${this.spec.cgroupMount}/cgroup.procs; exec "$@"`;
    return [...enter, "--cgroup", "--", "bash", "--norc", "-c", join, "machine", ...argv];
  }

  /** Runs a command to its end. Throws with its output when it fails, unless `mayFail`. */
  async exec(argv: readonly string[], options: CommandOptions = {}): Promise<Ended> {
    const child = Bun.spawn(this.#command(argv, options), {
      stdin: Buffer.from(options.input ?? ""),
      stdout: "pipe",
      stderr: "pipe",
      env: { ...machineEnvironment(), ...options.env },
    });
    const timer = setTimeout(() => {
      const inner = childOf(child.pid);
      if (inner) sendSignal(inner, "SIGKILL");
      child.kill("SIGKILL");
    }, options.timeoutMs ?? 120_000);
    const outputs = [collect(child.stdout), collect(child.stderr)] as const;
    const status = await child.exited;
    // A background process that the command left may hold its output open.
    await Promise.race([Promise.all(outputs.map(({ ended }) => ended)), Bun.sleep(OUTPUT_GRACE_MS)]);
    const [stdout, stderr] = [outputs[0].text(), outputs[1].text()];
    clearTimeout(timer);
    if (status !== 0 && !options.mayFail)
      throw new Error(`${this.spec.name}: ${argv.join(" ")}: status ${status}\n${stdout}${stderr}`);
    return { status, stdout, stderr };
  }

  /** Starts a command and returns as soon as it runs. */
  async spawn(argv: readonly string[], options: CommandOptions = {}): Promise<MachineProcess> {
    const log = options.log ? openSync(options.log, "a") : null;
    const outer = Bun.spawn(this.#command(argv, options), {
      stdin: options.input === undefined ? "ignore" : Buffer.from(options.input),
      stdout: log ?? "pipe",
      stderr: log ?? "inherit",
      env: { ...machineEnvironment(), ...options.env },
    });
    if (log !== null) closeSync(log);
    this.#outers.push(outer);
    const pid = await until(`${argv[0]} runs`, () => childOf(outer.pid) ?? outer.exitCode !== null, 5000, 2);
    if (typeof pid !== "number") throw new Error(`${this.spec.name}: ${argv.join(" ")} ended at once`);
    return new MachineProcess(outer, pid);
  }

  /** Every process on the machine except process 1: pid as seen from here, and its command line. */
  processes(): { pid: number; command: string }[] {
    const mine = readlinkSync(`/proc/${this.pid}/ns/pid`);
    const found: { pid: number; command: string }[] = [];
    for (const entry of readdirSync("/proc")) {
      const pid = Number(entry);
      if (!Number.isInteger(pid) || pid === this.pid) continue;
      try {
        if (readlinkSync(`/proc/${pid}/ns/pid`) !== mine) continue;
        const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
        found.push({ pid, command });
      } catch {
        // It ended while we looked.
      }
    }
    return found;
  }
}

/** What commands on a machine see: nothing of the environment of whoever runs the tests. */
function machineEnvironment(): Record<string, string> {
  return {
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: "/root",
    LANG: "C.UTF-8",
  };
}

/** Reads a stream to its end; `text()` is what came so far. */
function collect(stream: ReadableStream<Uint8Array>): { ended: Promise<void>; text: () => string } {
  const chunks: Uint8Array[] = [];
  const read = async (): Promise<void> => {
    for await (const chunk of stream) chunks.push(chunk);
  };
  return { ended: read(), text: () => Buffer.concat(chunks).toString() };
}

/** Where the cgroup v2 hierarchy is mounted, or null. */
export function cgroupMount(): string | null {
  const found = /^\S+ (\S+) cgroup2 /m.exec(readFileSync("/proc/self/mounts", "utf8"));
  return found?.[1] ?? null;
}
