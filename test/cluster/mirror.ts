/**
 * A mirror on a test bed: two nodes with a cluster and one module, ready to be broken.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { StatusDocument } from "../../core/daemon/engine.ts";
import { EtcdWitness, HoldfastWitness, type MirrorWitness } from "./mirror_witness.ts";
import { createTestbed, type Node, type Testbed, until } from "./testbed.ts";
import type { CommandOptions } from "./testbed_machine.ts";

/** What `module apply --json` says. */
type Applied = { data: { away: string[] } };

/** The virtual IP of the test modules. */
export const VIRTUAL_IP = "10.77.0.100";

/** A hook that says its name, and starts or stops a process that holds on to nothing. */
export const quietHooks: Record<string, string> = {
  "hooks/start_prim.ts": `import { defineHook, $ } from "holdfast";
export default defineHook(async ({ node }) => {
  console.log("serving on", node);
  await $\`sh -c \${"sleep 100000 & echo $! > /run/holdfast-test-app.pid"}\`;
});
`,
  "hooks/stop_prim.ts": `import { defineHook, $ } from "holdfast";
export default defineHook(async () => { await $\`sh -c \${"kill $(cat /run/holdfast-test-app.pid) || true"}\`; });
`,
};

/** What to build; see `createMirror`. */
export interface MirrorOptions {
  /** Lines of module.yaml below the kind; `DATA` stands for the replicated directory. */
  yaml?: string;
  /** Files of the module beside module.yaml, in the place of `quietHooks`; `RECORD` stands for a directory outside the nodes. */
  files?: Record<string, string>;
  /** Heartbeat of the cluster. */
  heartbeat?: string;
  replicate?: boolean;
  /** A witness on a machine of its own, the second host: a Holdfast (or true), or an etcd. */
  witness?: boolean | "node" | "etcd";
  /** Size of each node's disk in MiB; sparse. */
  diskMiB?: number;
  /** Objects that each disk has room for, where mkfs.ext4's own number is too small. */
  inodes?: number;
  /** Directories that the nodes' disks lie in, in turn. */
  images?: readonly string[];
  /** Makes a node ready before its daemon first starts. */
  prepare?(node: Node): Promise<void>;
}

/** Two running nodes and a module called db, stopped. */
export class Mirror {
  /** The cluster's, where it has one. */
  witness: MirrorWitness | null = null;

  constructor(
    readonly bed: Testbed,
    readonly n1: Node,
    readonly n2: Node,
  ) {}

  /** The replicated directory, the same on both nodes. */
  get data(): string {
    return `${this.n1.dataDir}/db`;
  }

  /** A third machine. */
  get host(): Testbed["hosts"][number] {
    return this.bed.hosts[0]!;
  }

  /** First start ever: n1 becomes primary, n2 follows. */
  async start(timeout?: string): Promise<void> {
    await this.n1.holdfast(["start", "db", "--all"]);
    await this.n1.holdfast(["prim", "db"]);
    await this.settled("PRIM", "SECOND", timeout);
  }

  /** Waits until n1 and n2 are in these states, Ready where that means something. */
  async settled(first: string, second: string, timeout = "20s", options: CommandOptions = {}): Promise<void> {
    await Promise.all([
      this.n1.holdfast(["wait", "db", first, "--timeout", timeout], options),
      this.n2.holdfast(["wait", "db", second, "--timeout", timeout], options),
    ]);
  }

  /** `state readiness` of both nodes, as `from` sees them. */
  async states(from: Node = this.n1): Promise<[string, string]> {
    const { modules } = await from.json<StatusDocument>(["status"]);
    const nodes = modules["db"]!.nodes;
    const say = (name: string): string => `${nodes[name]!.state} ${nodes[name]!.readiness}`;
    return [say("n1"), say("n2")];
  }

  /** Which nodes answer for the virtual IP, asked from the third machine. */
  whoAnswers(): Promise<string[]> {
    return this.host.whoAnswers(VIRTUAL_IP);
  }

  /** Waits until exactly this node answers for the virtual IP; returns how long that took, ms. */
  async answeredBy(node: Node, timeoutMs = 10_000): Promise<number> {
    const started = performance.now();
    await until(
      `${node.name} answers for ${VIRTUAL_IP}`,
      async () => (await this.whoAnswers()).join() === node.name,
      timeoutMs,
    );
    return performance.now() - started;
  }

  /** The hooks that ran on a node, in order, with " force" behind a forced call. */
  async scripts(node: Node): Promise<string[]> {
    const { stdout } = await node.holdfast(["log", "db", "--json", "--lines", "2000"]);
    return stdout
      .split("\n")
      .filter(Boolean)
      .map((line) => /^Script (\S+(?: force)?)$/.exec((JSON.parse(line) as { text: string }).text)?.[1])
      .filter((name) => name !== undefined);
  }
}

/** Builds nodes, cluster and module. Dispose of `bed` afterwards. */
export async function createMirror(options: MirrorOptions = {}): Promise<Mirror> {
  const bed = await createTestbed({
    nodes: 2,
    hosts: options.witness ? 2 : 1,
    ...(options.diskMiB === undefined ? {} : { diskMiB: options.diskMiB }),
    ...(options.inodes === undefined ? {} : { inodes: options.inodes }),
    ...(options.images === undefined ? {} : { images: options.images }),
  });
  const mirror = new Mirror(bed, bed.node(1), bed.node(2));
  try {
    await build(mirror, options);
    return mirror;
  } catch (error) {
    await bed.destroy();
    throw error;
  }
}

async function build(mirror: Mirror, options: MirrorOptions): Promise<void> {
  const { n1, n2 } = mirror;
  const scratch = mkdtempSync(join(tmpdir(), "holdfast-mirror-"));
  try {
    const clusterFile = join(scratch, "cluster.yaml");
    const place = (number: number): string =>
      `{ addresses: { lan: 10.77.0.${number}, repl: 10.78.0.${number} } }`;
    const heartbeat = options.heartbeat ?? "{ interval: 200ms, timeout: 1s }";
    writeFileSync(
      clusterFile,
      `name: test\nnodes:\n  n1: ${place(1)}\n  n2: ${place(2)}\nheartbeat: ${heartbeat}\n`,
    );
    await Promise.all([n1, n2].map((node) => options.prepare?.(node)));
    await n1.holdfast(["cluster", "create", clusterFile, "--as", "n1"]);
    await n1.startDaemon();
    const token = (await n1.json<{ token: string }>(["cluster", "token"])).token;
    await n2.holdfast(["cluster", "join", token, "--as", "n2"]);
    await n2.startDaemon();
    if (options.witness) {
      const Witness = options.witness === "etcd" ? EtcdWitness : HoldfastWitness;
      mirror.witness = new Witness(mirror.bed, mirror.bed.hosts[1]!);
      await mirror.witness.start();
      await mirror.witness.enrol(n1);
    }
    const replicate = options.replicate === false ? "" : "replicate:\n  paths:\n    - path: DATA\n";
    const yaml = `kind: mirror\nvirtualIps:\n  - address: ${VIRTUAL_IP}/24\n${options.yaml ?? replicate}`;
    const module = join(scratch, "db");
    const files = { "module.yaml": yaml, ...(options.files ?? quietHooks) };
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(dirname(join(module, name)), { recursive: true });
      const filled = content.replaceAll("DATA", mirror.data).replaceAll("RECORD", mirror.bed.dir);
      writeFileSync(join(module, name), filled, { mode: content.startsWith("#!") ? 0o755 : 0o644 });
    }
    for (const node of [n1, n2]) await node.exec(["mkdir", "-p", mirror.data]);
    await until("n1 and n2 take the module", async () => {
      // Types are for the tests of modules: here they would cost seconds, each time.
      const apply = ["module", "apply", "db", "--from", module, "--no-types", "--json"];
      const { status, stdout } = await n1.holdfast(apply, { mayFail: true });
      return status === 0 && (JSON.parse(stdout) as Applied).data.away.length === 0;
    });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
