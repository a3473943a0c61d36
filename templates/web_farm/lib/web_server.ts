/**
 * What the hooks have to know about {{title}}.
 */
import { readFileSync } from "node:fs";
import { $ } from "holdfast";

/** The pid of its first process, or null. The pid file alone would not do: after a power cut or a kill, its number may be another process's. */
export function masterOf(pidFile: string): number | null {
  try {
    const pid = Number(readFileSync(pidFile, "utf8"));
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.includes("({{program}}) ") && !/\) [ZX] /.test(stat) ? pid : null;
  } catch {
    return null;
  }
}

/** What is wrong with the configuration, in the words of {{title}}; "" when it can start with it. */
export async function faultOf({ bin, config }: Readonly<Record<string, string>>): Promise<string> {
  const { exitCode, stdout, stderr } = await $`{{check}}`.nothrow().quiet();
  return exitCode === 0 ? "" : `${stderr}${stdout}`.trim();
}
