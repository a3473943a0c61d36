/**
 * Real nodes on one machine: `await using bed = await createTestbed({ nodes: 2 })`.
 *
 * Everything lives inside one outer set of namespaces, whose process 1 ends when this process ends for whatever
 * reason: nothing is left behind, and several testbeds run side by side with the same addresses.
 */
import { copyFileSync, existsSync, linkSync, mkdirSync, mkdtempSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { join, resolve } from "node:path";
import type { Subprocess } from "bun";
import { cutDisk, loopsOf } from "./testbed_disk.ts";
import { type Fault, faultRules } from "./testbed_links.ts";
import {
  type CommandOptions,
  childOf,
  type Ended,
  Machine,
  type MachineProcess,
  type MachineSpec,
  run,
  sendSignal,
  until,
} from "./testbed_machine.ts";

export { type CommandOptions, type Ended, MachineProcess, until } from "./testbed_machine.ts";

/** What to build. */
export interface TestbedOptions {
  /** Machines with a disk, called n1, n2, …; default 2. */
  nodes?: number;
  /** Machines without a disk, on the first lan only, called h1, h2, …; default 1. */
  hosts?: number;
  /** Networks, at most 4; default lan (10.77.0.0/24, fd77::/64) and repl (10.78.0.0/24, fd78::/64). */
  lans?: string[];
  /** Size of each node's disk in MiB; sparse; default 1024. */
  diskMiB?: number;
  /** The binary to test; default HOLDFAST_BINARY or dist/holdfast. */
  binary?: string;
}

/** Why a testbed cannot be built here, or null: for `t.skip`. */
export function testbedImpossible(): string | null {
  if (process.platform !== "linux") return "real nodes need Linux";
  if (process.getuid?.() !== 0) return "real nodes need root (namespaces, loop devices)";
  if (!existsSync("/dev/loop-control")) return "real nodes need loop devices (/dev/loop-control)";
  for (const tool of ["ip", "nft", "nsenter", "unshare", "mkfs.ext4", "arping"])
    if (!Bun.which(tool)) return `real nodes need the program ${tool}`;
  return null;
}

const repository = resolve(import.meta.dir, "../..");
let made = 0;

/** A machine of the testbed, on or off. Its address is the same after each boot. */
export class Host {
  readonly name: string;
  readonly bed: Testbed;
  readonly number: number;
  /** Addresses by lan, without prefix length. */
  readonly addresses: Record<string, string>;
  readonly addresses6: Record<string, string>;
  protected machine: Machine | null = null;
  readonly #lans: readonly string[];

  constructor(bed: Testbed, name: string, number: number, lans: readonly string[]) {
    this.bed = bed;
    this.name = name;
    this.number = number;
    this.#lans = lans;
    const network = (lan: string): number => 77 + bed.lans.indexOf(lan);
    this.addresses = Object.fromEntries(lans.map((lan) => [lan, `10.${network(lan)}.0.${number}`]));
    this.addresses6 = Object.fromEntries(lans.map((lan) => [lan, `fd${network(lan)}::${number}`]));
  }

  /** The machine while it is on; throws while it is off. */
  get on(): Machine {
    if (!this.machine) throw new Error(`${this.name} is off`);
    return this.machine;
  }

  /** Process 1, as seen from here. */
  get pid(): number {
    return this.on.pid;
  }

  /** MAC address on a lan: the same after each boot, as on real hardware. */
  mac(lan: string): string {
    return `02:77:${hex(this.bed.lans.indexOf(lan))}:00:00:${hex(this.number)}`;
  }

  protected spec(): MachineSpec {
    return { name: this.name, hub: this.bed.pid, cgroup: null, cgroupMount: null, disk: null };
  }

  /** Switches the machine on: fresh namespaces, no address, ruleset or process of before. */
  async powerOn(): Promise<void> {
    if (this.machine) throw new Error(`${this.name} is on already`);
    const machine = await Machine.boot(this.spec());
    const outside: string[] = [];
    const inside: string[] = [];
    for (const lan of this.#lans) {
      const port = `${this.name}-${lan}`;
      outside.push(
        `link add ${port} type veth peer name ${lan} address ${this.mac(lan)} netns ${machine.pid}`,
        `link set ${port} master br-${lan} up`,
      );
      inside.push(
        `addr add ${this.addresses[lan]}/24 dev ${lan}`,
        `addr add ${this.addresses6[lan]}/64 dev ${lan} nodad`,
        `link set ${lan} up`,
      );
    }
    await this.bed.ip(outside);
    await run(["nsenter", "--target", `${machine.pid}`, "--net", "ip", "-batch", "-"], inside.join("\n"));
    this.machine = machine;
  }

  /** Takes the links away, then ends every process. The disk of a node is cut in between. */
  async powerCut(): Promise<void> {
    const machine = this.on;
    await this.bed.ip(this.#lans.map((lan) => `link set ${this.name}-${lan} down`));
    this.cutPower(machine);
    this.machine = null;
    await machine.kill();
    await this.bed.ip(
      this.#lans.map((lan) => `link del ${this.name}-${lan}`),
      true,
    );
    await this.powerIsOff();
  }

  protected cutPower(_machine: Machine): void {}
  protected async powerIsOff(): Promise<void> {}

  /** Runs a command to its end; throws with its output when it fails, unless `mayFail`. */
  exec(argv: readonly string[], options?: CommandOptions): Promise<Ended> {
    return this.on.exec(argv, options);
  }

  /** Starts a command. */
  spawn(argv: readonly string[], options?: CommandOptions): Promise<MachineProcess> {
    return this.on.spawn(argv, options);
  }

  /** Every process on the machine, process 1 apart. */
  processes(): { pid: number; command: string }[] {
    return this.on.processes();
  }

  /** SIGKILL for a process of `processes()` or `spawn`, by its pid as seen from here. */
  kill9(pid: number): void {
    sendSignal(pid, "SIGKILL");
  }

  /** Any signal, likewise. */
  signal(pid: number, name: NodeJS.Signals): void {
    sendSignal(pid, name);
    if (name === "SIGCONT") this.on.wakeOuters();
  }

  /** Lets stopped commands be buried; harmless when it is off. */
  wakeOuters(): void {
    this.machine?.wakeOuters();
  }

  /** The neighbour table on the first lan: address to MAC, without entries that are failed or incomplete. */
  async arpTable(): Promise<Record<string, string>> {
    const { stdout } = await this.exec(["ip", "neigh", "show", "dev", this.#lans[0]!]);
    const table: Record<string, string> = {};
    for (const line of stdout.split("\n")) {
      const found = /^(\S+) lladdr (\S+)/.exec(line);
      if (found) table[found[1]!] = found[2]!;
    }
    return table;
  }

  /** Names of the machines whose network cards answer ARP (or neighbour discovery) for `address` right now. */
  async whoAnswers(address: string): Promise<string[]> {
    const lan = this.#lans[0]!;
    const macs = address.includes(":")
      ? await this.#whoAnswers6(address, lan)
      : await this.#whoAnswers4(address, lan);
    return [...new Set(macs)].map((mac) => this.bed.nameOfMac(mac));
  }

  async #whoAnswers4(address: string, lan: string): Promise<string[]> {
    const asked = ["arping", "-r", "-c", "2", "-W", "0.15", "-i", lan, "-S", this.addresses[lan]!, address];
    const { stdout } = await this.exec(asked, { mayFail: true, timeoutMs: 5000 });
    return stdout.split("\n").filter((line) => line.includes(":"));
  }

  async #whoAnswers6(address: string, lan: string): Promise<string[]> {
    const ask = `ip -6 neigh flush dev ${lan} ${address}; ping -6 -c1 -W1 -I ${lan} ${address} >/dev/null; ip -6 neigh show ${address} dev ${lan}`;
    const { stdout } = await this.exec(["bash", "-c", ask], { mayFail: true, timeoutMs: 5000 });
    return [...stdout.matchAll(/lladdr (\S+)/g)].map((found) => found[1]!);
  }

  /** True when `address` answers a ping within `waitMs`. */
  async pings(address: string, waitMs = 2000): Promise<boolean> {
    const { status } = await this.exec(["ping", "-n", "-c1", "-W", `${waitMs / 1000}`, address], {
      mayFail: true,
    });
    return status === 0;
  }
}

/** A machine with a disk that keeps `varDir` and `dataDir`, and a daemon when asked. */
export class Node extends Host {
  /** VAR of this node. The path is the same on every node. */
  get varDir(): string {
    return `${this.bed.diskDir}/var`;
  }
  /** A directory on the same disk, for the application's data. The path is the same on every node. */
  get dataDir(): string {
    return `${this.bed.diskDir}/data`;
  }
  /** What the daemon prints; outside the node, so that it survives a power cut. */
  get daemonLog(): string {
    return `${this.bed.dir}/${this.name}.daemon.log`;
  }

  protected override spec(): MachineSpec {
    const mount = cgroupMount();
    return {
      ...super.spec(),
      cgroup: mount ? `${mount}/${this.bed.id}-${this.name}` : null,
      cgroupMount: mount,
      disk: { image: this.#image, mountPoint: this.bed.diskDir },
    };
  }

  get #image(): string {
    return `${this.bed.dir}/${this.name}.img`;
  }

  /** Makes an empty disk. */
  async format(mebibytes: number): Promise<void> {
    await run(["truncate", "-s", `${mebibytes}M`, this.#image]);
    await run(["mkfs.ext4", "-q", "-m", "0", "-F", this.#image]);
  }

  protected override cutPower(machine: Machine): void {
    cutDisk(machine.path(this.bed.diskDir));
  }

  protected override async powerIsOff(): Promise<void> {
    await until(`the disk of ${this.name} is released`, () => loopsOf(this.#image).length === 0);
  }

  /** Runs `holdfast ARGS --var VAR`; throws with its output when it fails, unless `mayFail`. */
  holdfast(args: readonly string[], options?: CommandOptions): Promise<Ended> {
    return this.exec([this.bed.binary, ...args, "--var", this.varDir], options);
  }

  /** `holdfast ARGS --json`, parsed. */
  async json<T = unknown>(args: readonly string[], options?: CommandOptions): Promise<T> {
    return JSON.parse((await this.holdfast([...args, "--json"], options)).stdout) as T;
  }

  /** Starts the daemon and waits until its command socket answers. */
  async startDaemon(env: Record<string, string> = {}): Promise<MachineProcess> {
    // In a session of its own, as a service manager starts it.
    const daemon = await this.spawn(["setsid", this.bed.binary, "daemon", "--var", this.varDir], {
      log: this.daemonLog,
      env,
    });
    const socket = `${this.varDir}/run/api.sock`;
    let ended = false;
    void daemon.exited.then(() => (ended = true));
    try {
      await until(
        `the daemon of ${this.name} answers at ${socket}`,
        async () => {
          if (ended) throw new Error(`the daemon of ${this.name} ended at once`);
          return connects(this.on.path(socket));
        },
        15_000,
      );
    } catch (error) {
      throw new Error(`${(error as Error).message}; it said:\n${readFileSync(this.daemonLog, "utf8")}`);
    }
    return daemon;
  }
}

/** Machines, and the lans between them. */
export class Testbed {
  readonly id = `holdfast-testbed-${process.pid}-${++made}`;
  readonly lans: readonly string[];
  readonly nodes: Node[] = [];
  readonly hosts: Host[] = [];
  /** Images, logs and the binary; gone with the testbed. */
  readonly dir = mkdtempSync(`/var/tmp/${this.id}-`);
  readonly diskDir = join(this.dir, "disk");
  readonly binary = join(this.dir, "holdfast");
  #faults: Fault[] = [];
  #keeper: Subprocess | null = null;
  #pid = 0;

  constructor(lans: readonly string[]) {
    this.lans = lans;
    mkdirSync(this.diskDir);
  }

  /** Process 1 of the outer namespaces, as seen from here. */
  get pid(): number {
    return this.#pid;
  }

  /** Node number 1, 2, … */
  node(number: number): Node {
    return this.nodes[number - 1]!;
  }

  /** Builds all of it. Use `createTestbed`. */
  async build(options: TestbedOptions): Promise<void> {
    const binary = options.binary ?? process.env["HOLDFAST_BINARY"] ?? join(repository, "dist/holdfast");
    if (existsSync(binary)) linkOrCopy(binary, this.binary);
    await this.#startKeeper();
    await this.ip(this.lans.map((lan) => `link add br-${lan} type bridge mcast_snooping 0 forward_delay 0`));
    await this.ip(this.lans.map((lan) => `link set br-${lan} up`));
    for (let n = 1; n <= (options.nodes ?? 2); n++) this.nodes.push(new Node(this, `n${n}`, n, this.lans));
    for (let n = 1; n <= (options.hosts ?? 1); n++)
      this.hosts.push(new Host(this, `h${n}`, 200 + n, this.lans.slice(0, 1)));
    await Promise.all(this.nodes.map((node) => node.format(options.diskMiB ?? 1024)));
    await Promise.all([...this.nodes, ...this.hosts].map((machine) => machine.powerOn()));
  }

  /** The keeper waits outside for the end of the namespaces, whoever ends them, and then removes what lies on disk. */
  async #startKeeper(): Promise<void> {
    const mount = cgroupMount();
    const script = [
      "trap '' INT TERM HUP",
      "exec 3<&0",
      `unshare --mount --net --pid --propagation private --kill-child bash --norc -c 'mount -t proc proc /proc; echo ready; read -r _' <&3`,
      // The last cgroup is empty only when the last process has been reaped.
      ...(mount
        ? [
            `for i in 1 2 3 4 5 6 7 8 9 10; do find ${mount}/${this.id}-* -depth -type d -exec rmdir {} + 2>/dev/null; ls -d ${mount}/${this.id}-* >/dev/null 2>&1 || break; sleep 0.1; done`,
          ]
        : []),
      `rm -rf ${this.dir}`,
    ].join("\n");
    this.#keeper = Bun.spawn(["setsid", "bash", "--norc", "-c", script], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "ignore",
      cwd: "/",
    });
    const reader = (this.#keeper.stdout as ReadableStream<Uint8Array>).getReader();
    if ((await reader.read()).done) throw new Error("the testbed's namespaces could not be made");
    this.#pid = childOf(childOf(this.#keeper.pid) ?? 0) ?? 0;
    if (this.#pid === 0) throw new Error("process 1 of the testbed not found");
  }

  /** Runs lines of `ip -batch` where the bridges are. */
  async ip(lines: readonly string[], force = false): Promise<void> {
    const batch = ["ip", ...(force ? ["-force"] : []), "-batch", "-"];
    const argv = ["nsenter", "--target", `${this.#pid}`, "--net", ...batch];
    await run(argv, lines.join("\n")).catch((error: unknown) => {
      if (!force) throw error;
    });
  }

  async #applyFaults(): Promise<void> {
    const argv = ["nsenter", "--target", `${this.#pid}`, "--net", "nft", "-f", "-"];
    await run(argv, faultRules(this.#faults));
  }

  async #addFaults(faults: Fault[]): Promise<void> {
    this.#faults.push(...faults);
    await this.#applyFaults();
  }

  #lansOf(lan: string | undefined): readonly string[] {
    return lan === undefined ? this.lans : [lan];
  }

  /** Cuts a machine off, on one lan or on all; its links stay up, as behind a broken switch. */
  async isolate(machine: Host, lan?: string): Promise<void> {
    const ports = this.#lansOf(lan).map((name) => `${machine.name}-${name}`);
    await this.#addFaults(
      ports.flatMap((port) => [
        { from: port, to: null, loss: 1 },
        { from: null, to: port, loss: 1 },
      ]),
    );
  }

  /** Loses all frames, or the part `loss` (0 to 1) of them, in one direction between two machines. */
  async cut(from: Host, to: Host, options: { lan?: string; loss?: number } = {}): Promise<void> {
    await this.#addFaults(
      this.#lansOf(options.lan).map((lan) => ({
        from: `${from.name}-${lan}`,
        to: `${to.name}-${lan}`,
        loss: options.loss ?? 1,
      })),
    );
  }

  /** Ends every fault, or those that name this machine. */
  async heal(machine?: Host, lan?: string): Promise<void> {
    const ends = machine ? this.#lansOf(lan).map((name) => `${machine.name}-${name}`) : null;
    this.#faults = ends
      ? this.#faults.filter(
          ({ from, to }) => ![from, to].some((port) => port !== null && ends.includes(port)),
        )
      : [];
    await this.#applyFaults();
  }

  /** The machine with this MAC address, or the address itself when it is nobody's. */
  nameOfMac(mac: string): string {
    const machines = [...this.nodes, ...this.hosts];
    return machines.find((machine) => this.lans.some((lan) => machine.mac(lan) === mac))?.name ?? mac;
  }

  /** Ends everything and waits until nothing is left. Harmless when repeated. */
  async destroy(): Promise<void> {
    const keeper = this.#keeper;
    if (!keeper) return;
    this.#keeper = null;
    if (this.#pid > 0) sendSignal(this.#pid, "SIGKILL");
    else keeper.kill("SIGKILL");
    for (const machine of [...this.nodes, ...this.hosts]) machine.wakeOuters();
    await keeper.exited;
    await until("the disks are released", () => loopsOf(this.dir).length === 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.destroy();
  }
}

/** Builds machines that are on and connected. Destroy it in `t.teardown`, or hold it with `await using`. */
export async function createTestbed(options: TestbedOptions = {}): Promise<Testbed> {
  const bed = new Testbed(options.lans ?? ["lan", "repl"]);
  try {
    await bed.build(options);
  } catch (error) {
    await bed.destroy();
    throw error;
  }
  return bed;
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

/** The binary may be built anew while we run: a link keeps the one that we began with. */
function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to);
  }
}

/** Where the cgroup v2 hierarchy is mounted, or null. */
function cgroupMount(): string | null {
  const found = /^\S+ (\S+) cgroup2 /m.exec(readFileSync("/proc/self/mounts", "utf8"));
  return found?.[1] ?? null;
}

/** True when something accepts connections at the Unix socket. */
function connects(path: string): Promise<boolean> {
  return new Promise((answer) => {
    const socket = connect({ path });
    socket.once("connect", () => {
      socket.destroy();
      answer(true);
    });
    socket.once("error", () => answer(false));
  });
}
