/**
 * What the hooks of a database have in common: its directory, its user, and the server that runs in it.
 */
import {
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { dirname } from "node:path";
import process from "node:process";
import { $, log, waitFor } from "holdfast";

/**
 * What must be so on every node that may have to run the server: it is found out when the module starts there, rather than in
 * the middle of a failover. The distribution's own service must neither run the server too nor start it at boot.
 */
export async function checkNode({
  programs,
  user,
  unit,
}: {
  programs: string[];
  user: string;
  unit: string;
}): Promise<void> {
  for (const program of programs)
    if (!existsSync(program))
      throw new Error(`${program} is not on this node: install it, or fit vars in module.yaml`);
  if ((await $`id -u ${user}`.nothrow().quiet()).exitCode !== 0)
    throw new Error(`this node has no user ${user}`);
  if ((await $`test -d /run/systemd/system`.nothrow()).exitCode !== 0) return;
  const says = async (question: string) => (await $`systemctl ${question} ${unit}`.nothrow().text()).trim();
  if ((await says("is-enabled")) === "enabled") {
    await $`systemctl disable ${unit}`;
    log(`${unit} is no longer started at boot: this module starts the server, where and when it should run`);
  }
  if ((await says("is-active")) === "active")
    throw new Error(
      `${unit} runs on this node, beside this module: systemctl stop ${unit}, then start the module again`,
    );
}

/** The pid of the `program` that runs in this directory, or null. A pid file would not do: it survives a failover, and then its pid means nothing. */
export function serverIn(directory: string, program: string): number | null {
  const place = existsSync(directory) ? realpathSync(directory) : directory;
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "latin1");
      const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
      if (name === program && !/\) [ZX] /.test(stat) && readlinkSync(`/proc/${entry}/cwd`) === place)
        return Number(entry);
    } catch {
      // It ended while we looked.
    }
  }
  return null;
}

/** Makes a new directory beside its place: it gets its name when all of it is on disk, so that a power cut leaves all or none. */
export async function makeWhole(
  directory: string,
  user: string,
  make: (fresh: string) => Promise<void>,
): Promise<void> {
  const fresh = `${directory}.new`;
  rmSync(fresh, { recursive: true, force: true });
  await $`install -d -o ${user} -g ${user} -m 700 ${fresh}`;
  await make(fresh);
  await $`find ${fresh} -exec sync {} +`;
  renameSync(fresh, directory);
  await $`sync ${dirname(directory)}`;
}

/** Gives the directory to the user when its number is another one on this node than on the one that made the files. */
export async function giveTo(user: string, directory: string): Promise<void> {
  const uid = Number(await $`id -u ${user}`.text());
  if (statSync(directory).uid === uid) return;
  log.warning(
    `${directory} belongs to user number ${statSync(directory).uid}, and ${user} is ${uid} on this node: changing it. Give ${user} the same number on both nodes, and a failover is spared this`,
  );
  // The directory itself last: when this is interrupted, it is done again.
  await $`find ${directory} -depth -exec chown -h ${user}: {} +`;
}

/** Is there such a process? */
export function lives(pid: number): boolean {
  return existsSync(`/proc/${pid}/stat`) && !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
}

/** Asks until it serves. No time limit of its own: a recovery after a power cut may be long, and timeouts.start bounds it. */
export async function untilServes(
  server: { pid: number; name: string; logFile: string },
  serves: () => Promise<boolean>,
): Promise<void> {
  while (!(await serves())) {
    if (!lives(server.pid)) {
      log.error(`${server.name} has ended; the end of ${server.logFile}:`);
      await $`tail -n 15 ${server.logFile}`;
      throw new Error(`${server.name} ended while it started`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Asks the server to end, and waits until it has; timeouts.stop bounds that. Forced, it is cut off, and recovers at its next start. */
export async function end(pid: number, force: boolean): Promise<void> {
  process.kill(pid, force ? "SIGKILL" : "SIGTERM");
  await waitFor(() => !lives(pid), { what: `the end of process ${pid}`, timeout: "1d", interval: "50ms" });
}
