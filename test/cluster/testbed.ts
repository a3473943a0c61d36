/**
 * Real nodes on one machine: `await using bed = await createTestbed({ nodes: 2 })`.
 *
 * Everything lives inside one outer set of namespaces, whose process 1 ends when this process ends for whatever
 * reason: nothing is left behind, and several testbeds run side by side with the same addresses.
 */
import { copyFileSync, existsSync, linkSync, mkdirSync, mkdtempSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Subprocess } from "bun";
import { loopsOf } from "./testbed_disk.ts";
import { Host } from "./testbed_host.ts";
import { type Fault, faultRules } from "./testbed_links.ts";
import { cgroupMount, childOf, run, sendSignal, until } from "./testbed_machine.ts";
import { Node } from "./testbed_node.ts";

export { type CommandOptions, type Ended, MachineProcess, until } from "./testbed_machine.ts";
export { Host, Node };

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
  /** Objects that each node's disk has room for; default what mkfs.ext4 thinks right for the size. */
  inodes?: number;
  /** Directories that the nodes' disks lie in, one each, in turn; default one of the testbed's own. */
  images?: readonly string[];
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
  /** Where the disks' images are, a directory for each node in turn. */
  readonly imageDirs: readonly string[];
  #faults: Fault[] = [];
  #keeper: Subprocess | null = null;
  #pid = 0;

  constructor(lans: readonly string[], images: readonly string[] = []) {
    this.lans = lans;
    mkdirSync(this.diskDir);
    this.imageDirs = images.length === 0 ? [this.dir] : images.map((home) => join(home, this.id));
    for (const dir of this.imageDirs) mkdirSync(dir, { recursive: true });
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
    await Promise.all(this.nodes.map((node) => node.format(options.diskMiB ?? 1024, options.inodes)));
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
      `rm -rf ${this.dir} ${this.imageDirs.join(" ")}`,
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

  /** Cuts exactly these directions between machines, on one lan or on all, and heals all others. */
  async sever(links: readonly { from: Host; to: Host; lan?: string }[]): Promise<void> {
    this.#faults = links.flatMap(({ from, to, lan }) =>
      this.#lansOf(lan).map((name) => ({ from: `${from.name}-${name}`, to: `${to.name}-${name}`, loss: 1 })),
    );
    await this.#applyFaults();
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
    await until("the disks are released", () => this.imageDirs.every((dir) => loopsOf(dir).length === 0));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.destroy();
  }
}

/** Builds machines that are on and connected. Destroy it in `t.teardown`, or hold it with `await using`. */
export async function createTestbed(options: TestbedOptions = {}): Promise<Testbed> {
  const bed = new Testbed(options.lans ?? ["lan", "repl"], options.images);
  try {
    await bed.build(options);
  } catch (error) {
    await bed.destroy();
    throw error;
  }
  return bed;
}

/** The binary may be built anew while we run: a link keeps the one that we began with. */
function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to);
  }
}
