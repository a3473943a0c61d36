/**
 * What a farm's virtual address costs: nginx on three nodes, asked through it, and asked directly; and through what others put in front of the same nodes.
 *
 * Each connection is a thread of wrk's, as clients are independent of each other: directly, each asks one of the nodes in turn; else, all ask the one address. Nodes, clients and the balancer share this machine's processors,
 * so that what each part costs is taken from the others.
 */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createFarm, FARM_IP, type FarmLab } from "../cluster/farm_lab.ts";
import { type Host, until } from "../cluster/testbed.ts";
import { type Condensed, condense, type Row } from "./report.ts";
import type { Measure } from "./workloads.ts";

/** Shared out by connection: wrk has one address only. */
const PORT = 8081;
const NAT_PORT = 8080;
const CONNECTIONS = 48;
const VIRTUAL = "virtual IP";

/** An address in front of the nodes, or the nodes themselves. */
interface Way {
  name: string;
  /** By thread. */
  targets: string[];
}

/** What there is to measure, and what cannot be compared with here. */
export interface FarmWeb {
  rows: Condensed[];
  missing: string[];
}

const LOADS = [
  { what: "kept-alive connections", header: "Connection: keep-alive", aim: 0.95 },
  { what: "a connection for each request", header: "Connection: close", aim: 0.85 },
];

/** wrk's own words: a thread asks one address, whatever the URL says. */
const script = (targets: readonly string[]): string => `
local targets = { ${targets.map((target) => `"${target}"`).join(", ")} }
local threads = 0
function setup(thread)
  local host, port = targets[threads % #targets + 1]:match("(.*):(.*)")
  thread.addr = wrk.lookup(host, port)[1]
  threads = threads + 1
end
`;

const haproxyConfig = (nodes: readonly string[]): string => `global
  maxconn 8000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1m
  timeout server 1m
listen web
  bind :${PORT}
  balance roundrobin
${nodes.map((address, at) => `  server n${at + 1} ${address}:${PORT}\n`).join("")}`;

/** The kernel's own translation of addresses, there and back, as a load balancer. */
const natRules = (nodes: readonly string[]): string => `table ip bench {
  chain to { type nat hook prerouting priority -100;
    tcp dport ${NAT_PORT} dnat to numgen inc mod ${nodes.length} map { ${nodes.map((address, at) => `${at} : ${address}`).join(", ")} }
  }
  chain back { type nat hook postrouting priority 100; tcp dport ${NAT_PORT} masquerade; }
}
`;

/** Ports enough for a new connection each request, whoever closes it first. */
const MANY_CONNECTIONS =
  "echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range; echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse";
/** What has ended is forgotten soon, or the kernel's table of connections would be full. */
const FORWARDING =
  "echo 1 > /proc/sys/net/ipv4/ip_forward; nft -f -; echo 1 > /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_time_wait";

async function waysOf(lab: FarmLab): Promise<{ ways: Way[]; missing: string[] }> {
  const nodes = lab.nodes.map((node) => node.addresses["lan"]!);
  const [, balancer, translator] = lab.bed.hosts as [Host, Host, Host];
  const missing: string[] = [];
  const ways = [
    { name: "direct", targets: nodes.map((node) => `${node}:${PORT}`) },
    { name: VIRTUAL, targets: [`${FARM_IP}:${PORT}`] },
  ];
  if (existsSync("/usr/sbin/haproxy")) {
    const config = join(lab.bed.dir, "haproxy.cfg");
    writeFileSync(config, haproxyConfig(nodes));
    await balancer.spawn(["haproxy", "-db", "-f", config], { log: `${lab.bed.dir}/haproxy.log` });
    const listens = ["ss", "-Hltn", `sport = :${PORT}`];
    await until("HAProxy listens", async () => (await balancer.exec(listens)).stdout !== "");
    ways.push({ name: "HAProxy", targets: [`${balancer.addresses["lan"]}:${PORT}`] });
  } else missing.push("HAProxy: not installed (Debian: apt install haproxy)");
  await translator.exec(["bash", "-ec", FORWARDING], { input: natRules(nodes) });
  ways.push({ name: "nftables NAT", targets: [`${translator.addresses["lan"]}:${NAT_PORT}`] });
  missing.push(
    existsSync("/proc/net/ip_vs")
      ? "IPVS, keepalived: this kernel has IPVS, and this bench does not drive it yet"
      : "IPVS, keepalived: this kernel has no ip_vs",
  );
  return { ways, missing };
}

/** Milliseconds of what wrk writes as 830.00us, 1.20ms or 1.02s. */
function milliseconds(text: string): number {
  const [, value, unit] = /^([\d.]+)(us|ms|s|m)$/.exec(text)!;
  return Number(value) * { us: 0.001, ms: 1, s: 1000, m: 60_000 }[unit as "us" | "ms" | "s" | "m"];
}

/** Requests per second and the 99th percentile of their times, ms. Throws when one was not answered. */
async function ask(lab: FarmLab, way: Way, header: string, seconds: number): Promise<[number, number]> {
  const file = join(lab.bed.dir, "wrk.lua");
  writeFileSync(file, script(way.targets));
  const argv = [
    "wrk",
    `-t${CONNECTIONS}`,
    `-c${CONNECTIONS}`,
    `-d${seconds}s`,
    "--latency",
    "-s",
    file,
    "-H",
    header,
  ];
  const { stdout } = await lab.host.exec([...argv, `http://${way.targets[0]}/`]);
  const rate = /Requests\/sec: +([\d.]+)/.exec(stdout);
  const slow = / 99% +(\S+)/.exec(stdout);
  if (!rate || !slow || /Socket errors|Non-2xx/.test(stdout)) throw new Error(`${way.name}: ${stdout}`);
  return [Number(rate[1]), milliseconds(slow[1]!)];
}

/** Measures each load on each way in turn, in another order each round. Throws when a request fails. */
export async function measureFarmWeb(rounds: number, seconds: number): Promise<FarmWeb> {
  if (!existsSync("/usr/bin/wrk"))
    return { rows: [], missing: ["requests a second: wrk is not installed (Debian: apt install wrk)"] };
  const lab = await createFarm({ hosts: 3 });
  await using _bed = lab.bed;
  await lab.nodes[0]!.holdfast(["start", "web", "--all"]);
  await lab.shared(lab.nodes.map(({ name }) => name));
  for (const machine of [...lab.nodes, ...lab.bed.hosts])
    await machine.exec(["bash", "-ec", MANY_CONNECTIONS]);
  const { ways, missing } = await waysOf(lab);
  const rows: Condensed[] = [];
  for (const { what, header, aim } of LOADS) {
    const row = (measure: Measure): Row => ({
      measure,
      figures: Object.fromEntries(ways.map(({ name }) => [name, []])),
    });
    const rates = row({ name: `requests, ${what}`, unit: "/s", aim });
    const times = row({ name: `p99, ${what}`, unit: "ms", aim: null });
    for (const way of ways) await ask(lab, way, header, 1);
    for (let round = 0; round < rounds; round++) {
      const turn = round % ways.length;
      for (const way of [...ways.slice(turn), ...ways.slice(0, turn)]) {
        const [rate, p99] = await ask(lab, way, header, seconds);
        rates.figures[way.name]!.push(rate);
        times.figures[way.name]!.push(p99);
      }
    }
    rows.push(condense(rates, VIRTUAL), condense(times, VIRTUAL));
  }
  return { rows, missing };
}
