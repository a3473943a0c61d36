/**
 * How this program starts itself again.
 *
 * Guardian, replication process and hook runner are the same binary with an internal first argument. Compiled,
 * `process.execPath` is the product; from source it is Bun, and the entry file must be named.
 */

/** The source of the entry point, used only when not compiled. */
const entry = new URL("../cli/main.ts", import.meta.url).pathname;

/** True in the compiled binary, whose modules live in Bun's virtual file system. */
export const compiled = import.meta.url.includes("$bunfs") || import.meta.url.includes("~BUN");

/** The command line that runs this program with `args`: an argument vector, first element the executable. */
export function selfCommand(...args: string[]): string[] {
  return compiled ? [process.execPath, ...args] : [process.execPath, entry, ...args];
}
