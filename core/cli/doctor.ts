/**
 * What a node needs of its machine, examined before anything depends on it.
 */
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { loadCluster } from "../cluster/cluster.ts";
import { watchdogFile } from "../daemon/guardian/watchdog.ts";
import type { IsolationPromise } from "../daemon/isolation.ts";
import { allSaved } from "../daemon/saved.ts";
import { recordsAnything } from "../witness/config.ts";
import { probeWitness, witnessPromise, witnessText } from "../witness/promise.ts";
import { clocks } from "./doctor_clock.ts";
import type { Finding } from "./doctor_finding.ts";
import { addresses, farm } from "./doctor_rules.ts";
import { fetchStatus, loadedModules } from "./node.ts";

type Examination = (varDir: string) => Finding | Finding[] | Promise<Finding | Finding[]>;

const OLDEST = [5, 15] as const;
/** Kernels from which things work, and what older ones do. */
const KERNELS: readonly { version: readonly [number, number]; lacking: string }[] = [
  {
    version: [5, 16],
    lacking: "lets an announcement out that a frozen primary had in hand when it was thawed after a takeover",
  },
  { version: [6, 2], lacking: "has no O_TMPFILE in replicated directories" },
  { version: [6, 9], lacking: "has the application restarted when its replication process dies" },
];

/** `version` as uname(2) has it. */
export function kernel(version = release()): Finding {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const isBefore = ([a, b]: readonly [number, number]): boolean => major < a || (major === a && minor < b);
  const what = "kernel";
  if (isBefore(OLDEST))
    return { what, level: "problem", detail: `${version} is not supported: ${OLDEST.join(".")} or later is` };
  const lacking = KERNELS.filter(({ version: from }) => isBefore(from));
  if (lacking.length === 0) return { what, level: "good", detail: version };
  const told = lacking.map(
    ({ lacking: words, version: from }) => `${words} (${from.join(".")} or later does not)`,
  );
  return { what, level: "warning", detail: `${version} ${told.join(", ")}` };
}

function root(): Finding {
  if (process.getuid?.() === 0) return { what: "user", level: "good", detail: "root" };
  return {
    what: "user",
    level: "problem",
    detail: "the daemon needs root: for mounts, addresses and process groups; use sudo",
  };
}

/** What a mirror's replicated directories are made with. Opening the device loads the kernel's module, where there is one. */
export function fuse(device = "/dev/fuse"): Finding {
  const what = "fuse";
  const load =
    "modprobe fuse, and echo fuse > /etc/modules-load.d/fuse.conf for every boot (in a container: give it the device)";
  try {
    closeSync(openSync(device, "r+"));
    return { what, level: "good", detail: device };
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    const detail =
      code === "ENOENT"
        ? `no ${device}, and a mirror needs it: ${load}`
        : ["ENODEV", "ENXIO"].includes(code)
          ? `${device} is there, and the kernel has no fuse, which a mirror needs: ${load}`
          : `${device} may not be opened by this user (${code}): use sudo`;
    return { what, level: "problem", detail };
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

/** Why the daemon has nothing to tell. */
function untold(varDir: string): string {
  return loadCluster(varDir) ? "this node's daemon does not run" : "not in a cluster yet";
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
    return { what, level: "good", detail: untold(varDir) };
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
    return [{ what, level: "good", detail: untold(varDir) }];
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

/** What nobody has seen to since a split brain. */
export function saved(varDir: string): Finding[] {
  return Object.entries(allSaved(varDir)).map(([name, paths]) => ({
    what: "saved",
    level: "warning",
    detail: `${name}: what this node had written while both nodes ran alone is in ${paths.join(", ")} (report.json there lists it): remove it when you have seen to it`,
  }));
}

/** Who decides between two nodes that lose each other, whether it answers, and what that is worth. */
async function witness(varDir: string): Promise<Finding> {
  const what = "witness";
  const cluster = loadCluster(varDir);
  if (!cluster) return { what, level: "good", detail: "not in a cluster yet" };
  const config = cluster.witness;
  if (config === null)
    return {
      what,
      level: cluster.peers.length > 0 ? "warning" : "good",
      detail: `none: ${witnessPromise(config)}`,
    };
  const { answers, detail } = await probeWitness(config, cluster, varDir);
  return {
    what,
    level: answers ? (recordsAnything(config) ? "good" : "warning") : "problem",
    detail: `${witnessText(config)}: ${detail}; ${witnessPromise(config, answers)}`,
  };
}

/** The hardware that resets a node which cannot stop what it must stop. */
export function watchdog(varDir: string): Finding {
  const what = "watchdog";
  const file = watchdogFile(varDir);
  if (!existsSync(file)) return { what, level: "good", detail: "none (holdfast daemon --watchdog DEVICE)" };
  const { ok, detail } = v.parse(
    v.object({ ok: v.boolean(), detail: v.string() }),
    JSON.parse(readFileSync(file, "utf8")),
  );
  return { what, level: ok ? "good" : "problem", detail };
}

function memory(): Finding {
  const available = readFileSync("/proc/meminfo", "utf8").match(/MemAvailable:\s+(\d+)/);
  const mebibytes = Number(available?.[1] ?? 0) / 1024;
  const detail = `${Math.round(mebibytes)} MiB available`;
  return mebibytes > 256
    ? { what: "memory", level: "good", detail }
    : { what: "memory", level: "warning", detail: `${detail}; the daemon and one module need about 200` };
}

const EXAMINATIONS: Readonly<Record<string, Examination>> = {
  kernel: () => kernel(),
  user: root,
  fuse: () => fuse(),
  "fuse timeouts": () => fuseTimeouts(),
  addresses,
  farm: () => farm(),
  "user namespaces": userNamespaces,
  clock: clocks,
  ports,
  probes,
  isolation: promises,
  saved,
  witness,
  watchdog,
  memory,
};

/** Everything examined, in a fixed order. Never throws for what it finds. */
export async function examine(varDir: string): Promise<Finding[]> {
  if (process.platform !== "linux")
    return [{ what: "system", level: "problem", detail: `${process.platform}: a node needs Linux` }];
  const findings: Finding[] = [];
  for (const [what, examination] of Object.entries(EXAMINATIONS))
    try {
      findings.push(...[await examination(varDir)].flat());
    } catch (error) {
      findings.push({ what, level: "problem", detail: (error as Error).message });
    }
  return findings;
}
