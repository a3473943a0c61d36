/** Programs that the rules run, as root or as nobody. */
import { execFileSync } from "node:child_process";

/** Runs a command; throws when it fails. */
export function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Runs a shell line as the user and group 65534 (nobody). */
export function asNobody(line: string, ...extra: string[]): string {
  return run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", ...extra, "sh", "-ec", line);
}
