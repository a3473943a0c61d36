/**
 * What a node needs of its machine, examined before anything depends on it.
 */
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { loadCluster } from "../cluster/cluster.ts";
import type { IsolationPromise } from "../daemon/isolation.ts";
import { recordsAnything } from "../witness/config.ts";
import { probeWitness, witnessPromise, witnessText } from "../witness/promise.ts";
import { fetchStatus, loadedModules } from "./node.ts";

/** One thing examined. */
export interface Finding {
  what: string;
  level: "good" | "warning" | "problem";
  detail: string;
}

type Examination = (varDir: string) => Finding | Promise<Finding | Finding[]>;

/** Kernels from which things work, and what older ones lack. */
const KERNELS: readonly { version: readonly [number, number]; lacking: string; level: Finding["level"] }[] = [
  { version: [5, 15], lacking: "is not supported", level: "problem" },
  { version: [6, 2], lacking: "lacks O_TMPFILE in replicated directories", level: "warning" },
  {
    version: [6, 9],
    lacking: "restarts the application when its replication process dies",
    level: "warning",
  },
];

function kernel(): Finding {
  const [major = 0, minor = 0] = release().split(".").map(Number);
  const lacking = KERNELS.find(({ version: [a, b] }) => major < a || (major === a && minor < b));
  if (!lacking) return { what: "kernel", level: "good", detail: release() };
  return {
    what: "kernel",
    level: lacking.level,
    detail: `${release()} ${lacking.lacking}; ${lacking.version.join(".")} or later does not`,
  };
}

function root(): Finding {
  if (process.getuid?.() === 0) return { what: "user", level: "good", detail: "root" };
  return {
    what: "user",
    level: "problem",
    detail: "the daemon needs root: for mounts, addresses and process groups; use sudo",
  };
}

function fuse(): Finding {
  if (!existsSync("/dev/fuse"))
    return { what: "fuse", level: "problem", detail: "no /dev/fuse: modprobe fuse" };
  try {
    accessSync("/dev/fuse", constants.R_OK | constants.W_OK);
    return { what: "fuse", level: "good", detail: "/dev/fuse" };
  } catch {
    return { what: "fuse", level: "problem", detail: "/dev/fuse may not be opened by this user" };
  }
}

/** The kernel's own limits on answers: shorter than a peer may take, it would abort a mount that only waits. */
export function fuseTimeouts(settings = "/proc/sys/fs/fuse"): Finding {
  const what = "fuse timeouts";
  const set = ["default_request_timeout", "max_request_timeout"].filter(
    (name) => existsSync(join(settings, name)) && Number(readFileSync(join(settings, name), "utf8")) > 0,
  );
  if (set.length === 0) return { what, level: "good", detail: "the kernel sets none" };
  return {
    what,
    level: "warning",
    detail: `${set.map((name) => `fs.fuse.${name}`).join(" and ")} may abort a replicated directory that waits for its peer: set to 0 with sysctl`,
  };
}

function userNamespaces(): Finding {
  const child = Bun.spawnSync(["unshare", "--user", "--map-root-user", "true"], {
    stdout: "ignore",
    stderr: "ignore",
  });
  return child.success
    ? { what: "user namespaces", level: "good", detail: "available" }
    : {
        what: "user namespaces",
        level: "warning",
        detail: "not for this user: only the demo without root needs them",
      };
}

function clock(): Finding {
  const status = Bun.which("timedatectl")
    ? Bun.spawnSync(["timedatectl", "show", "--property=NTPSynchronized", "--value"], { stderr: "ignore" })
        .stdout.toString()
        .trim()
    : "";
  if (status === "yes") return { what: "clock", level: "good", detail: "synchronised" };
  // No decision uses the wall clock; logs of two nodes are easier to read when their clocks agree.
  return {
    what: "clock",
    level: "warning",
    detail:
      "not known to be synchronised: logs of two nodes will not line up, certificates may seem not yet valid",
  };
}

/** True when the daemon of `varDir` answers: then its ports are taken, as they should be. */
async function daemonAnswers(varDir: string): Promise<boolean> {
  return (await loadedModules(varDir)) !== null;
}

async function ports(varDir: string): Promise<Finding> {
  const cluster = loadCluster(varDir);
  if (!cluster) return { what: "ports", level: "good", detail: "not in a cluster yet" };
  if (await daemonAnswers(varDir))
    return {
      what: "ports",
      level: "good",
      detail: `${cluster.port} and following, held by this node's daemon`,
    };
  for (const port of [cluster.port, cluster.port + 2])
    try {
      Bun.listen({ hostname: "0.0.0.0", port, socket: { data: () => undefined } }).stop(true);
    } catch {
      return {
        what: "ports",
        level: "problem",
        detail: `TCP port ${port} is taken by another program; the cluster's ports start at ${cluster.port} (cluster.yaml)`,
      };
    }
  return { what: "ports", level: "good", detail: `${cluster.port} and following are free` };
}

/** Where load balancers ask which node serves: a port that is not open looks like a node that is down. */
async function probes(varDir: string): Promise<Finding> {
  const what = "probes";
  const node = loadCluster(varDir)?.node;
  if (node === undefined || !(await daemonAnswers(varDir)))
    return { what, level: "good", detail: "this node's daemon does not run" };
  const { modules } = await fetchStatus({ varDir, target: { node: null, all: false } });
  const ports = Object.entries(modules).flatMap(([name, { nodes }]) => {
    const port = nodes[node]?.resources["probe.port"];
    return port === undefined ? [] : [{ name, ...port }];
  });
  const shut = ports.filter(({ state }) => state !== "up");
  if (shut.length > 0)
    return {
      what,
      level: "problem",
      detail: shut.map(({ name, detail }) => `${name}: ${detail}`).join("; "),
    };
  const detail = ports.length === 0 ? "no module has a probe port" : "every probe port is open";
  return { what, level: "good", detail };
}

/** Which promise holds in a cut network, and what people have switched off. */
async function promises(varDir: string): Promise<Finding[]> {
  const what = "isolation";
  if (!loadCluster(varDir) || !(await daemonAnswers(varDir)))
    return [{ what, level: "good", detail: "this node's daemon does not run" }];
  const { modules } = await fetchStatus({ varDir, target: { node: null, all: false } });
  return Object.entries(modules).flatMap(([name, { isolation, nodes }]): Finding[] => {
    const isOn = Object.values(nodes).some(({ maintenance }) => maintenance !== undefined);
    const detail = `${name} is in maintenance: nothing is failed over by itself; holdfast maintenance ${name} off`;
    return [
      ...(isolation === undefined ? [] : [promiseOf(name, isolation)]),
      ...(isOn ? [{ what: "maintenance", level: "warning" as const, detail }] : []),
    ];
  });
}

function promiseOf(name: string, { isExclusive, words }: IsolationPromise): Finding {
  return { what: "isolation", level: isExclusive ? "good" : "warning", detail: `${name}: ${words}` };
}

/** Who decides between two nodes that lose each other, whether it answers, and what that is worth. */
async function witness(varDir: string): Promise<Finding> {
  const what = "witness";
  const cluster = loadCluster(varDir);
  if (!cluster) return { what, level: "good", detail: "not in a cluster yet" };
  const config = cluster.witness;
  const promise = witnessPromise(config);
  if (config === null)
    return { what, level: cluster.peers.length > 0 ? "warning" : "good", detail: `none: ${promise}` };
  const { answers, detail } = await probeWitness(config, cluster, varDir);
  if (!answers) return { what, level: "problem", detail: `${witnessText(config)}: ${detail}` };
  return {
    what,
    level: recordsAnything(config) ? "good" : "warning",
    detail: `${witnessText(config)}: ${detail}; ${promise}`,
  };
}

function memory(): Finding {
  const available = readFileSync("/proc/meminfo", "utf8").match(/MemAvailable:\s+(\d+)/);
  const mebibytes = Number(available?.[1] ?? 0) / 1024;
  const detail = `${Math.round(mebibytes)} MiB available`;
  return mebibytes > 256
    ? { what: "memory", level: "good", detail }
    : { what: "memory", level: "warning", detail: `${detail}; the daemon and one module need about 200` };
}

const fuseTimeoutsNow = (): Finding => fuseTimeouts();
const EXAMINATIONS: readonly Examination[] = [
  kernel,
  root,
  fuse,
  fuseTimeoutsNow,
  userNamespaces,
  clock,
  ports,
  probes,
  promises,
  witness,
  memory,
];

/** Everything examined, in a fixed order. Never throws for what it finds. */
export async function examine(varDir: string): Promise<Finding[]> {
  if (process.platform !== "linux")
    return [{ what: "system", level: "problem", detail: `${process.platform}: a node needs Linux` }];
  const findings: Finding[] = [];
  for (const examination of EXAMINATIONS)
    try {
      findings.push(...[await examination(varDir)].flat());
    } catch (error) {
      findings.push({
        what: examination.name || "examination",
        level: "problem",
        detail: (error as Error).message,
      });
    }
  return findings;
}
