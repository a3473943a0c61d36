/**
 * A farm on a test bed: three nodes with nginx behind a virtual IP of their own, and a machine with as many client addresses as one likes.
 */
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { StatusDocument } from "../../core/daemon/engine.ts";
import type { FarmReport } from "../../core/daemon/farm_addresses.ts";
import { inOrder } from "../../core/farm/assignment.ts";
import type { Stay, Visits } from "./farm_client.ts";
import { createTestbed, type Host, type MachineProcess, type Node, type Testbed, until } from "./testbed.ts";

/** The virtual addresses of the farm. */
export const FARM_IP = "10.77.0.100";
export const FARM_IP6 = "fd77::100";

/** Where UDP is answered. */
export const UDP_PORT = 5353;

const NGINX = `pid /run/nginx.pid; error_log /run/error.log; worker_processes 1; user www-data;
events { worker_connections 8000; }
http { access_log off; keepalive_timeout 1h; keepalive_requests 100000000;
  server { listen 8080; listen [::]:8080; listen 8081; listen [::]:8081; location / { return 200 "$hostname"; } } }
`;
const HOOKS: Record<string, string> = {
  "hooks/start_both": "#!/bin/sh\nnginx -c DATA/nginx.conf\n",
  "hooks/stop_both": `#!/bin/sh
[ -e /run/nginx.pid ] || exit 0
kill -QUIT $(cat /run/nginx.pid)
for i in $(seq 50); do [ -e /run/nginx.pid ] || exit 0; sleep 0.1; done
kill -TERM $(cat /run/nginx.pid)
`,
};

/** How the clients are shared out where a test does not say. */
export const BALANCING = `loadBalancing:
  rules:
    - { protocol: tcp, ports: [8080] }
    - { protocol: tcp, ports: ["8081-8082"], affinity: connection }
    - { protocol: udp, ports: [${UDP_PORT}] }
`;

/** What to build. */
export interface FarmOptions {
  nodes?: number;
  balancing?: string;
  /** More of module.yaml. */
  yaml?: string;
  files?: Record<string, string>;
  heartbeat?: string;
}

/** See the top of the file. */
export class FarmLab {
  constructor(
    readonly bed: Testbed,
    readonly options: FarmOptions,
  ) {}

  get nodes(): readonly Node[] {
    return this.bed.nodes;
  }

  get host(): Host {
    return this.bed.hosts[0]!;
  }

  node(name: string): Node {
    return this.nodes.find((node) => node.name === name)!;
  }

  /** Switches a node on and makes it ready, as it is after each boot. */
  async boot(node: Node): Promise<void> {
    await node.powerOn();
    await this.prepare(node);
    await node.startDaemon();
  }

  /** The way to the clients. */
  async prepare(node: Node): Promise<void> {
    await node.exec(["ip", "route", "add", "10.90.0.0/16", "via", this.host.addresses["lan"]!]);
    await node.exec(["ip", "-6", "route", "add", "fd90::/64", "via", this.host.addresses6["lan"]!]);
  }

  /** Applies the module everywhere, with these weights. */
  async apply(weights?: Record<string, number>): Promise<void> {
    const { bed, options } = this;
    const [n1] = this.nodes as [Node];
    const source = mkdtempSync(join(bed.dir, "web-"));
    const yaml = `kind: farm\nvirtualIps: [{ address: ${FARM_IP}/24 }, { address: "${FARM_IP6}/64" }]
${options.balancing ?? BALANCING}${weights ? `  weights: ${JSON.stringify(weights)}\n` : ""}${options.yaml ?? ""}`;
    const files: Record<string, string> = { ...(options.files ?? HOOKS), "module.yaml": yaml };
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(source, path)), { recursive: true });
      writeFileSync(join(source, path), text.replaceAll("DATA", n1.dataDir), { mode: 0o755 });
    }
    await until("every node has the module", async () => {
      const apply = ["module", "apply", "web", "--from", source, "--json"];
      const { status, stdout, stderr } = await n1.holdfast(apply, { mayFail: true });
      if (status !== 0) throw new Error(stdout + stderr);
      return (JSON.parse(stdout) as { data: { away: string[] } }).data.away.length === 0;
    });
  }

  async status(from = this.nodes[0]!): Promise<StatusDocument["modules"][string]["nodes"]> {
    return (await from.json<StatusDocument>(["status"])).modules["web"]!.nodes;
  }

  async report(node: Node): Promise<FarmReport | null> {
    const { stdout } = await node.holdfast(["farm", "web", "--json"], { mayFail: true });
    // Nothing at all comes from a node whose daemon does not answer yet.
    return stdout === "" ? null : ((JSON.parse(stdout) as { data?: FarmReport }).data ?? null);
  }

  /** Waits until exactly these nodes are open, and all of them agree. */
  async shared(names: readonly string[], tellers = names.map((name) => this.node(name))): Promise<void> {
    await until(
      `${names.join(", ")} share the clients`,
      async () => {
        for (const teller of tellers) {
          const report = await this.report(teller);
          const open = Object.entries(report?.nodes ?? {}).filter(([, { stage }]) => stage === "open");
          const found = inOrder(open.map(([node]) => node));
          if (!Bun.deepEquals(found, inOrder(names))) return false;
          if (!Object.values(report!.nodes).every(({ agrees }) => agrees)) return false;
        }
        return true;
      },
      20_000,
    );
  }

  /** The node that answers ARP for the farm's address. */
  async front(): Promise<Node> {
    return this.node(
      await until("one node answers", async () => {
        const names = await this.host.whoAnswers(FARM_IP);
        return names.length === 1 ? names[0]! : null;
      }),
    );
  }

  #client(...words: (string | number)[]): string[] {
    return [process.execPath, `${import.meta.dir}/farm_client.ts`, ...words.map(String)];
  }

  /** `count` connections of clients `first` and following, one request each. */
  async visit(
    count: number,
    options: { address?: string; port?: number; first?: number; by?: "visit" | "udp" | "fragments" } = {},
  ): Promise<Visits> {
    const { address = FARM_IP, port = 8080, first = 0, by = "visit" } = options;
    const { stdout } = await this.host.exec(this.#client(by, address, port, count, first));
    return JSON.parse(stdout) as Visits;
  }

  /** Answers datagrams to an address of the farm on a node, until it is switched off. */
  async answerByUdp(node: Node, address: string): Promise<void> {
    await node.spawn(this.#client("answer", address, UDP_PORT, 0));
    const bound = async () =>
      (await node.exec(["ss", "-Hlnu", `sport = ${UDP_PORT}`])).stdout.includes(address);
    await until(`${node.name} answers datagrams`, bound);
  }

  /** Connections that stay; call the result to end them and to learn how they fared. */
  async stay(
    count: number,
    options: { address?: string; port?: number; first?: number } = {},
  ): Promise<{ end(): Promise<Stay[]> }> {
    return await this.#begin<Stay[]>("stay", count, options);
  }

  /** New connections all the time; the result says how long some failed. */
  async probe(count: number): Promise<{ end(): Promise<{ gapMs: number; tried: number; failed: number }> }> {
    return await this.#begin("probe", count, {});
  }

  async #begin<Result>(
    act: string,
    count: number,
    { address = FARM_IP, port = 8080, first = 0 }: { address?: string; port?: number; first?: number },
  ): Promise<{ end(): Promise<Result> }> {
    const flag = `${this.bed.dir}/end-${crypto.randomUUID().slice(0, 8)}`;
    const words = this.#client(act, address, port, count, first).join(" ");
    const waiting = `while [ ! -e ${flag} ]; do sleep 0.05; done`;
    const client: MachineProcess = await this.host.spawn(["bash", "-c", `(${waiting}) | ${words}`]);
    const decoder = new TextDecoder();
    const said = client.stdout.getReader();
    const { value } = await said.read();
    if (!decoder.decode(value).startsWith("ready")) throw new Error("the clients did not begin");
    return {
      end: async () => {
        writeFileSync(flag, "");
        let text = "";
        for (let next = await said.read(); !next.done; next = await said.read())
          text += decoder.decode(next.value);
        return JSON.parse(text) as Result;
      },
    };
  }
}

/** Builds nodes, cluster and module `web`; nothing is started. Dispose of `bed` afterwards. */
export async function createFarm(options: FarmOptions = {}): Promise<FarmLab> {
  const bed = await createTestbed({ nodes: options.nodes ?? 3, hosts: 1, diskMiB: 128 });
  const lab = new FarmLab(bed, options);
  try {
    await build(lab, options);
    return lab;
  } catch (error) {
    await bed.destroy();
    throw error;
  }
}

async function build(lab: FarmLab, options: FarmOptions): Promise<void> {
  const { bed, nodes, host } = lab;
  await host.exec([
    "bash",
    "-c",
    "ip route add local 10.90.0.0/16 dev lo; ip -6 route add local fd90::/64 dev lo; echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind",
  ]);
  const file = join(bed.dir, "cluster.yaml");
  const places = nodes.map(({ name, addresses }) => {
    const { lan, repl } = addresses;
    return `  ${name}: { addresses: { lan: ${lan}, repl: ${repl} } }\n`;
  });
  const heartbeat = options.heartbeat ?? "{ interval: 200ms, timeout: 1s }";
  writeFileSync(file, `name: test\nnodes:\n${places.join("")}heartbeat: ${heartbeat}\n`);
  const [n1, ...others] = nodes as [Node, ...Node[]];
  for (const node of nodes) await lab.prepare(node);
  await n1.holdfast(["cluster", "create", file, "--as", "n1"]);
  await n1.startDaemon();
  for (const node of others) {
    const { token } = await n1.json<{ token: string }>(["cluster", "token"]);
    await node.holdfast(["cluster", "join", token, "--as", node.name]);
    await node.startDaemon();
  }
  for (const node of nodes) {
    writeFileSync(node.on.path(`${node.dataDir}/nginx.conf`), NGINX);
    await node.exec(["sync"]);
  }
  await lab.apply();
}
