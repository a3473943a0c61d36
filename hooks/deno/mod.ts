/**
 * The `Deno` namespace of scripts: what server scripts use, so that a hook runs under Deno too and its editor knows it.
 *
 * docs/deno.md lists what is here, name by name; a test holds that list, these keys and the suite of test/deno to each other.
 */
import * as os from "node:os";
import { isatty } from "node:tty";
import { pathToFileURL } from "node:url";
import { inspect } from "../console/inspect.ts";
import { ChildProcess, Command, spawn, spawnAndWait, spawnAndWaitSync } from "./command.ts";
import { resolveDns } from "./dns.ts";
import { errors } from "./errors.ts";
import { create, createSync, FsFile, open, openSync, SeekMode } from "./file.ts";
import { fileFunctions } from "./files.ts";
import { build, cpuUsage, memoryUsage, networkInterfaces, systemMemoryInfo } from "./machine.ts";
import { connect, connectTls, listen, listenTls } from "./network.ts";
import { refuse } from "./not_offered.ts";
import { PermissionStatus, Permissions, permissions } from "./permissions.ts";
import {
  addSignalListener,
  chdir,
  env,
  exit,
  getExitCode,
  kill,
  removeSignalListener,
  setExitCode,
  umask,
} from "./process.ts";
import { serve } from "./serve.ts";
import { consoleSize, stderr, stdin, stdout } from "./standard_streams.ts";
import { test } from "./test.ts";

/** The version of Deno whose behaviour the tests compare with. */
const DENO_VERSION = "2.9.6";
const TYPESCRIPT_VERSION = "6.0.3";

/** What setTimeout gives; a number stands for a timer that is gone. */
type Timer = { ref?(): unknown; unref?(): unknown };

/** Makes the namespace for the main script `file` and its arguments. */
export function denoNamespace(file: string, args: readonly string[]): object {
  const namespace = {
    args: [...args],
    build: build(),
    ChildProcess,
    Command,
    FsFile,
    PermissionStatus,
    Permissions,
    SeekMode,
    errors,
    env,
    mainModule: pathToFileURL(file).href,
    noColor: process.env["NO_COLOR"] !== undefined && process.env["NO_COLOR"] !== "",
    permissions,
    pid: process.pid,
    get ppid() {
      return process.ppid;
    },
    version: { deno: DENO_VERSION, v8: "", typescript: TYPESCRIPT_VERSION },
    stdin,
    stdout,
    stderr,
    test,
    addSignalListener,
    chdir,
    connect,
    connectTls,
    consoleSize,
    cpuUsage,
    create,
    createSync,
    cwd: () => process.cwd(),
    execPath: () => process.execPath,
    exit,
    gid: () => process.getgid?.() ?? null,
    hostname: () => os.hostname(),
    inspect,
    isatty: (fd: number) => isatty(fd),
    kill,
    listen,
    listenTls,
    loadavg: () => os.loadavg(),
    memoryUsage,
    networkInterfaces,
    open,
    openSync,
    osRelease: () => os.release(),
    osUptime: () => Math.floor(os.uptime()),
    refTimer: (timer: Timer) => void timer.ref?.(),
    removeSignalListener,
    resolveDns,
    serve,
    spawn,
    spawnAndWait,
    spawnAndWaitSync,
    systemMemoryInfo,
    uid: () => process.getuid?.() ?? null,
    umask,
    unrefTimer: (timer: Timer) => void timer.unref?.(),
    ...fileFunctions(),
  };
  Object.defineProperty(namespace, "exitCode", { get: getExitCode, set: setExitCode, enumerable: true });
  refuse(namespace);
  return namespace;
}
