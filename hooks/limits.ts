/**
 * What `permissions` of module.yaml leaves a hook, in Deno's words.
 */

/** Each is a list of what is allowed, or true: everything. Paths are absolute. */
export interface Granted {
  read: readonly string[] | true;
  write: readonly string[] | true;
  /** "host:port", or a host for all its ports. */
  net: readonly string[] | true;
  /** Absolute paths of programs. */
  run: readonly string[] | true;
  /** Names of environment variables. */
  env: readonly string[] | true;
}

const EVERYTHING: Granted = { read: true, write: true, net: true, run: true, env: true };

let current = EVERYTHING;

/** The limits of this process. */
export function granted(): Granted {
  return current;
}

/** Says which limits this process has: they are in force already. */
export function setGranted(limits: Granted): void {
  current = limits;
}
