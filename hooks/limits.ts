/**
 * `permissions` of module.yaml: what a hook and all that it starts may do, in Deno's words, enforced by the kernel.
 *
 * docs/permissions.md says to the letter what is enforced and what is not.
 */
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import * as v from "valibot";
import { type Allowed, landlockAbi, limitsTcp, restrictSelf } from "../core/platform/linux/landlock.ts";
import { compiled } from "../core/platform/self.ts";
import { HOOK_PATH } from "./environment.ts";

const kind = v.union([v.literal(true), v.array(v.string())]);

/** Each is a list of what is allowed, or true: everything. */
export const grantedSchema = v.object({
  /** Absolute paths. */
  read: kind,
  write: kind,
  /** "host:port", or a host for all its ports. */
  net: kind,
  /** Absolute paths of programs. */
  run: kind,
  /** Names of environment variables. */
  env: kind,
});

/** What is left to a hook. */
export type Granted = v.InferOutput<typeof grantedSchema>;

/** As module.yaml has it: a kind that is not named is allowed nothing. */
export type Permissions = { [Kind in keyof Granted]?: boolean | readonly string[] | undefined };

let current: Granted = { read: true, write: true, net: true, run: true, env: true };

/** The limits of this process. */
export function granted(): Granted {
  return current;
}

/** Says which limits this process has: they are in force already. */
export function setGranted(limits: Granted): void {
  current = limits;
}

/** Where PATH has the program; what is nowhere stands as it was written, and allows nothing. */
function programPath(name: string, directory: string): string {
  if (name.includes("/")) return resolve(directory, name);
  for (const folder of HOOK_PATH.split(":")) {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return join(folder, name);
    } catch {
      // Not here.
    }
  }
  return name;
}

/** The limits that module.yaml sets: relative paths are the module's. */
export function limitsOf(permissions: Permissions, directory: string): Granted {
  const list = (value: boolean | readonly string[] | undefined, each: (entry: string) => string) =>
    value === true ? (true as const) : (value || []).map(each);
  const path = (entry: string) => resolve(directory, entry);
  return {
    read: list(permissions.read, path),
    write: list(permissions.write, path),
    net: list(permissions.net, (entry) => entry),
    run: list(permissions.run, (entry) => programPath(entry, directory)),
    env: list(permissions.env, (entry) => entry),
  };
}

/** What of the limits this kernel does not enforce: a sentence each. */
export function notEnforced(limits: Granted, abi = landlockAbi()): string[] {
  const files = limits.read !== true || limits.write !== true || limits.run !== true;
  const sentences: string[] = [];
  if (abi === 0 && files)
    sentences.push(
      "permissions of files and programs are not enforced: this kernel has no Landlock (Linux 5.13)",
    );
  if (!limitsTcp(abi) && portsOf(limits) !== null)
    sentences.push("permissions.net is not enforced: this kernel's Landlock knows no ports (Linux 6.7)");
  return sentences;
}

/** The ports of `net`, or null when it allows a host with every port. */
function portsOf({ net }: Granted): number[] | null {
  if (net === true) return null;
  const ports = net.map((entry) => Number(/:(\d+)$/.exec(entry)?.[1] ?? Number.NaN));
  return ports.some(Number.isNaN) ? null : ports;
}

/** Where programs and this one find their libraries, and what every program may look at. */
const LIBRARIES = [
  "/lib",
  "/lib64",
  "/usr/lib",
  "/usr/lib64",
  "/usr/local/lib",
  "/etc/ld.so.cache",
  "/etc/ld.so.preload",
];
/**
 * /proc: runtimes and the C library do not start without /proc/self, and the SDK looks there for processes. A rule cannot tell
 * one process's part from another's.
 */
const HARMLESS = [
  "/proc",
  "/sys/devices/system/cpu",
  "/sys/fs/cgroup",
  "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/etc/localtime", "/etc/hosts",
  "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/usr/share/zoneinfo",
]; // biome-ignore format: a list
/** Programs that start programs: without them nothing that is linked dynamically runs. */
const LOADERS = [
  "/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-x86_64.so.1", "/lib/ld-musl-aarch64.so.1",
]; // biome-ignore format: a list
const SHELL = "/bin/sh";

/** The programs that a script's first line names. */
function interpreterOf(file: string): string[] {
  const first = /^#!\s*(\S+)/.exec(readFileSync(file, "latin1").slice(0, 256))?.[1];
  return first === undefined ? [] : [first];
}

/** The kernel's terms of the limits, for a hook's `file` in the module's `directory`. */
export function allowedBy(
  limits: Granted,
  hook: { file: string; directory: string; executable: boolean },
): Allowed {
  const own = compiled ? [process.execPath] : [process.execPath, resolve(import.meta.dir, "..")];
  const secrets = process.env["HOLDFAST_SECRETS"];
  const itself = hook.executable ? [hook.file, ...interpreterOf(hook.file)] : own;
  const programs = limits.run === true ? [] : limits.run;
  // `$` runs command lines through the shell: who may run anything may run that.
  const shell = programs.length > 0 ? [SHELL] : [];
  const execute = [...itself, ...programs, ...shell, ...LOADERS];
  const always = [
    hook.directory,
    ...own,
    ...HARMLESS,
    ...LIBRARIES,
    ...(secrets ? [secrets] : []),
    // Executing a file is reading it too.
    ...(limits.run === true ? HOOK_PATH.split(":") : []),
  ];
  const existing = (paths: readonly string[]) => paths.filter((path) => existsSync(path));
  return {
    read:
      limits.read === true
        ? null
        : [...limits.read, ...existing([...always, ...execute, dirname(hook.file)])],
    write: limits.write === true ? null : [...limits.write, "/dev/null", "/dev/zero", "/dev/full"],
    execute:
      limits.run === true ? null : existing(execute).concat(programs.filter((path) => !existsSync(path))),
    ports: portsOf(limits),
  };
}

/** Puts the limits on this process. What the author should know is printed: it is in the script log. */
export function limitSelf(
  limits: Granted,
  hook: { file: string; directory: string; executable: boolean },
): void {
  for (const sentence of notEnforced(limits)) console.error(`warning: ${sentence}`);
  if (landlockAbi() === 0) return;
  for (const path of restrictSelf(allowedBy(limits, hook)))
    console.error(`warning: permissions name ${path}, which is not there: nothing is allowed for it`);
}
