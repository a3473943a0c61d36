/**
 * What the hooks of a database have in common: its directory, and the server that runs in it.
 */
import {
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
} from "node:fs";
import { dirname } from "node:path";
import process from "node:process";
import { $, log, waitFor } from "holdfast";

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
