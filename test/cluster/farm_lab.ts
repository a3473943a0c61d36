/**
 * A farm on a test bed: three nodes with nginx behind a virtual IP of their own, and a machine with as many client addresses as one likes.
 */
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { DaemonUnreachable, localApi } from "../../core/api/api.ts";
import type { FarmReport } from "../../core/daemon/addresses/farm_addresses.ts";
import type { StatusDocument } from "../../core/daemon/engine.ts";
import { inOrder } from "../../core/farm/assignment.ts";
import type { Probe, Stay, Turnover, Visits } from "./farm_client.ts";
import { createTestbed, type Host, type MachineProcess, type Node, type Testbed, until } from "./testbed.ts";

/** The virtual addresses of the farm. */
export const FARM_IP = "10.77.0.100";
export const FARM_IP6 = "fd77::100";

/** Clients that were not answered within this have failed to begin, ms. */
const BEGIN_MS = 10_000;

/** Where UDP is answered. */
export const UDP_PORT = 5353;

/** By machine with clients, their networks. */
const CLIENTS = ["10.90.0.0/16", "10.90.128.0/17"];
const CLIENTS6 = ["fd90::/64", "fd90::8000/113"];

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

/** How packets find their node. */
export type FarmMode = "directed" | "invisible";

/** How the clients are shared out where a test does not say. */
export const balancing = (mode: FarmMode): string => `loadBalancing:
  mode: ${mode}
  rules:
    - { protocol: tcp, ports: [8080] }
    - { protocol: tcp, ports: ["8081-8082"], affinity: connection }
    - { protocol: udp, ports: [${UDP_PORT}] }
`;

/** What to build. */
export interface FarmOptions {
  nodes?: number;
  /** Machines with clients; default 1. The second one has those from number 32768 on. */
  hosts?: number;
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

  /** Machines that have networks of clients. */
  get clients(): readonly Host[] {
    return this.bed.hosts.slice(0, CLIENTS.length);
  }

  /** Switches a node on and makes it ready, as it is after each boot. */
  async boot(node: Node): Promise<void> {
    await node.powerOn();
    await this.prepare(node);
    await node.startDaemon();
    // By a person: a node that dies too often would be held back.
    await node.holdfast(["start", "web"], { mayFail: true });
  }

  /** The way to the clients. */
  async prepare(node: Node): Promise<void> {
    for (const [at, { addresses, addresses6 }] of this.clients.entries()) {
      await node.exec(["ip", "route", "replace", CLIENTS[at]!, "via", addresses["lan"]!]);
      await node.exec(["ip", "-6", "route", "replace", CLIENTS6[at]!, "via", addresses6["lan"]!]);
    }
  }

  /** Applies the module everywhere, with these weights. */
  async apply(weights?: Record<string, number>): Promise<void> {
    const { bed, options } = this;
    const [n1] = this.nodes as [Node];
    const source = mkdtempSync(join(bed.dir, "web-"));
    const yaml = `kind: farm\nvirtualIps: [{ address: ${FARM_IP}/24 }, { address: "${FARM_IP6}/64" }]
${options.balancing ?? balancing("directed")}${weights ? `  weights: ${JSON.stringify(weights)}\n` : ""}${options.yaml ?? ""}`;
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

  /** What `holdfast farm` shows there; null while it shows nothing. */
  async report(node: Node): Promise<FarmReport | null> {
    try {
      const { body } = await localApi(node.on.path(node.varDir)).call("GET", "/modules/web/farm");
      return (body as { data?: FarmReport }).data ?? null;
    } catch (error) {
      if (error instanceof DaemonUnreachable) return null;
      throw error;
    }
  }

  /** Waits until exactly these nodes are open, and all of them agree. */
  async shared(names: readonly string[], tellers = names.map((name) => this.node(name))): Promise<void> {
    await until(
      `${names.join(", ")} share the clients`,
      async () => {
        const reports = await Promise.all(tellers.map((teller) => this.report(teller)));
        return reports.every((report) => {
          const said = Object.entries(report?.nodes ?? {});
          const found = inOrder(said.flatMap(([node, { stage }]) => (stage === "open" ? [node] : [])));
          return Bun.deepEquals(found, inOrder(names)) && said.every(([, { agrees }]) => agrees);
        });
      },
      20_000,
      50,
    );
  }

  /** The node that answers ARP for the farm's address. */
  async front(): Promise<Node> {
    return await until("one node answers", async () => {
      const [name, ...others] = await this.host.whoAnswers(FARM_IP);
      if (name === undefined || others.length > 0) return null;
      // In `mode: invisible` the answer tells an address that is no node's.
      const report = await this.report(this.nodes[0]!);
      return this.node(report?.virtualMac === name ? report.answers[`${FARM_IP}/24`]! : name);
    });
  }

  #client(...words: (string | number)[]): string[] {
    return [process.execPath, `${import.meta.dir}/farm_client.ts`, ...words.map(String)];
  }

  /** `count` connections of clients `first` and following, one request each. */
  async visit(
    count: number,
    options: {
      address?: string;
      port?: number;
      first?: number;
      by?: "visit" | "udp" | "fragments";
      from?: Host;
    } = {},
  ): Promise<Visits> {
    const { address = FARM_IP, port = 8080, first = 0, by = "visit", from = this.host } = options;
    const { stdout } = await from.exec(this.#client(by, address, port, count, first));
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
    options: { address?: string; port?: number; first?: number; from?: Host } = {},
  ): Promise<{ end(): Promise<Stay[]> }> {
    return await this.#begin<Stay[]>("stay", count, options);
  }

  /** Connections that end after some requests, each followed by a new one. */
  async turnover(count: number, options: { first?: number } = {}): Promise<{ end(): Promise<Turnover> }> {
    return await this.#begin<Turnover>("turnover", count, options);
  }

  /** New connections of so many clients all the time. */
  async probe(count: number): Promise<{ end(): Promise<Probe[]> }> {
    return await this.#begin<Probe[]>("probe", count, {});
  }

  async #begin<Result>(
    act: string,
    count: number,
    options: { address?: string; port?: number; first?: number; from?: Host },
  ): Promise<{ end(): Promise<Result> }> {
    const { address = FARM_IP, port = 8080, first = 0, from = this.host } = options;
    const flag = `${this.bed.dir}/end-${crypto.randomUUID().slice(0, 8)}`;
    const words = this.#client(act, address, port, count, first).join(" ");
    const waiting = `while [ ! -e ${flag} ]; do sleep 0.05; done`;
    const client: MachineProcess = await from.spawn(["bash", "-c", `(${waiting}) | ${words}`]);
    const decoder = new TextDecoder();
    const said = client.stdout.getReader();
    const begun = await Promise.race([said.read(), Bun.sleep(BEGIN_MS)]);
    if (!begun?.value || !decoder.decode(begun.value).startsWith("ready"))
      throw new Error(`not all of ${count} clients were answered (${act})`);
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
  const bed = await createTestbed({
    nodes: options.nodes ?? 3,
    hosts: options.hosts ?? 1,
    diskMiB: 128,
  });
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
  const { bed, nodes } = lab;
  for (const [at, host] of lab.clients.entries())
    await host.exec([
      "bash",
      "-c",
      `ip route add local ${CLIENTS[at]} dev lo; ip -6 route add local ${CLIENTS6[at]} dev lo; echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind`,
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
