/**
 * A root daemon must not run code that an environment variable names.
 *
 * `BUN_OPTIONS=--preload …`, `NODE_TLS_REJECT_UNAUTHORIZED=0` and `LD_PRELOAD` change what this program and all its children
 * are. Deleting them from `process.env` is not enough (children get the environment that the process began with), so the
 * process starts itself again without them, once. In the binary the runtime's own variables are also blanked: see build.ts.
 */
import { replaceProcess } from "../platform/linux/exec.ts";
import { selfCommand } from "../platform/self.ts";

/** Variables that choose what code runs; the two exceptions carry the channel between a hook and its parent. */
const FOREIGN = /^(BUN_|LD_|NODE_(?!CHANNEL_))/;

/** Starts this program again, in the same process, when its environment holds foreign variables. */
export function leaveForeignEnvironment(): void {
  const kept: Record<string, string> = {};
  let foreign = false;
  for (const [name, value] of Object.entries(process.env)) {
    if (FOREIGN.test(name)) foreign = true;
    else if (value !== undefined) kept[name] = value;
  }
  if (foreign) replaceProcess(selfCommand(...process.argv.slice(2)) as [string, ...string[]], kept);
}
