/**
 * The demo's cluster: two machines with a node each, and a client's machine, on one bridge.
 *
 * Everything goes through the product's own command line, as an administrator would type it.
 */
import { closeSync, mkdirSync, openSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Subprocess } from "bun";
import type { NodeStatus } from "../../daemon/engine.ts";
import { selfCommand } from "../../platform/self.ts";
import { fetchStatus } from "../node.ts";
import type { Acknowledged } from "./client.ts";
import { Machine, run } from "./machine.ts";

const BRIDGE = "lan";
const PORT = 9453;
/** The address that clients use, and the application's port. */
export const VIRTUAL_IP = "10.77.0.100";
export const APPLICATION_PORT = "8080";
const MODULE = "demo";
const STATUS_TIMEOUT_MS = 400;
const HEARTBEAT_TIMEOUT = "1s";

/** A node of the demo; null machine: its power is off. */
export class DemoNode {
  machine: Machine | null = null;

  constructor(
    readonly name: string,
    readonly address: string,
    /** Everything of the demo lies below this directory. */
    readonly base: string,
  ) {}

  /** The node's var directory. */
  get varDir(): string {
    return join(this.base, this.name, "var");
  }

  /** The disk behind the node's replicated directory, without the file system that replicates. */
  get disk(): string {
    return join(this.base, this.name, "data");
  }

  /** Switches the machine on and starts the daemon when the node belongs to a cluster. */
  async boot(): Promise<void> {
    mkdirSync(this.varDir, { recursive: true });
    mkdirSync(this.disk, { recursive: true });
    const setup = [
      "mount -t tmpfs -o mode=755 tmpfs /run",
      `mount --bind "${this.disk}" "${dataDirectory(this.base)}"`,
      // The machine's own control groups would outlive it: without them the daemon finds processes another way.
      "umount -l /sys/fs/cgroup/unified 2>/dev/null || umount -l /sys/fs/cgroup 2>/dev/null || true",
    ].join("\n");
    this.machine = await Machine.boot(this.name, this.address, BRIDGE, setup);
  }

  /** Starts the daemon; what it says goes to a file. */
  startDaemon(): void {
    const log = openSync(join(this.base, this.name, "daemon.log"), "a");
    this.#on().spawn(this.#command("daemon"), log);
    closeSync(log);
  }

  /** Types a command on this node; returns what it printed, throws with it when it failed. */
  async holdfast(...words: string[]): Promise<string> {
    return await this.#on().exec(this.#command(...words));
  }

  /** The power goes. */
  async cutPower(): Promise<void> {
    await this.#on().cutPower();
    this.machine = null;
  }

  /** This node's module as the node itself tells it, or null when it does not answer. */
  async status(): Promise<NodeStatus | null> {
    if (!this.machine) return null;
    try {
      const document = await Promise.race([
        fetchStatus({ varDir: this.varDir, target: { node: null, all: false } }),
        Bun.sleep(STATUS_TIMEOUT_MS).then(() => null),
      ]);
      return document?.modules[MODULE]?.nodes[this.name] ?? null;
    } catch {
      return null; // The daemon is not up yet, or no more: the demo shows that as such.
    }
  }

  #command(...words: string[]): string[] {
    const [verb, ...rest] = words as [string, ...string[]];
    return selfCommand(verb, ...rest, "--var", this.varDir);
  }

  #on(): Machine {
    if (!this.machine) throw new Error(`${this.name} has no power`);
    return this.machine;
  }
}

/** The replicated directory, the same path on both nodes. */
function dataDirectory(base: string): string {
  return join(base, "srv");
}

/** The three machines. */
export interface DemoCluster {
  n1: DemoNode;
  n2: DemoNode;
  client: Machine;
}

/** Plugs the machines together, makes the cluster and starts the module: n1 PRIM, n2 SECOND. */
export async function buildCluster(base: string, tell: (text: string) => void): Promise<DemoCluster> {
  mkdirSync(dataDirectory(base), { recursive: true });
  await run("ip", "link", "set", "lo", "up");
  await run("ip", "link", "add", "name", BRIDGE, "type", "bridge");
  await run("ip", "link", "set", BRIDGE, "up");
  const n1 = new DemoNode("n1", "10.77.0.1", base);
  const n2 = new DemoNode("n2", "10.77.0.2", base);
  const [client] = await Promise.all([Machine.boot("client", "10.77.0.9", BRIDGE, ""), n1.boot(), n2.boot()]);
  tell("three machines: n1, n2 and a client, each with a network and processes of its own");
  const file = join(base, "cluster.yaml");
  await writeFile(
    file,
    [
      "name: demo",
      "nodes:",
      `  n1: { addresses: { lan: ${n1.address} } }`,
      `  n2: { addresses: { lan: ${n2.address} } }`,
      `port: ${PORT}`,
      `heartbeat: { interval: 200ms, timeout: ${HEARTBEAT_TIMEOUT} }`,
      "",
    ].join("\n"),
  );
  await n1.holdfast("cluster", "create", file, "--as", "n1");
  n1.startDaemon();
  await waitForDaemon(n1);
  const { token } = JSON.parse(await n1.holdfast("cluster", "token", "--json")) as { token: string };
  await n2.holdfast("cluster", "join", token, "--as", "n2");
  n2.startDaemon();
  await waitForDaemon(n2);
  tell("cluster made on n1, joined by n2");
  const data = dataDirectory(base);
  await n1.holdfast(
    ...[
      "module",
      "new",
      MODULE,
      "--template",
      "demo",
      "--set",
      `replicate.paths.0.path=${data}`,
      "--set",
      `vars.data=${data}`,
    ],
    ...[
      "--set",
      `virtualIps.0.address=${VIRTUAL_IP}/24`,
      "--set",
      `vars.address=${VIRTUAL_IP}`,
      "--set",
      `vars.port=${APPLICATION_PORT}`,
    ],
  );
  await n1.holdfast("module", "apply", MODULE);
  tell("module demo: an HTTP application with SQLite in a replicated directory, behind a virtual IP");
  await n1.holdfast("prim", MODULE);
  await n2.holdfast("second", MODULE);
  return { n1, n2, client };
}

async function waitForDaemon(node: DemoNode): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await fetchStatus({ varDir: node.varDir, target: { node: null, all: false } });
      return;
    } catch (error) {
      if (attempt === 100)
        throw new Error(`the daemon of ${node.name} does not answer: ${(error as Error).message}`);
      await Bun.sleep(100);
    }
  }
}

/** Starts the client; `acknowledged` is called for every row. */
export function startClient(machine: Machine, acknowledged: (row: Acknowledged) => void): Subprocess {
  const child = machine.spawn(selfCommand("__demo", "client", VIRTUAL_IP, APPLICATION_PORT), "pipe");
  void (async () => {
    let rest = "";
    const decoder = new TextDecoder();
    for await (const chunk of child.stdout as ReadableStream<Uint8Array>) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop()!;
      for (const line of lines) acknowledged(JSON.parse(line) as Acknowledged);
    }
  })();
  return child;
}
