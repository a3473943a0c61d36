/**
 * What the real namespace has and this one does not: named, so that a script which uses it fails with a clear word.
 */
import { errors } from "./errors.ts";

/** Each name, and what to use instead. */
const NOT_OFFERED: Readonly<Record<string, string>> = {
  AtomicOperation: "keep data in files",
  HttpClient: "fetch needs none",
  Kv: "keep data in files",
  Process: "use Deno.Command",
  UnsafeCallback: "scripts call no native code",
  UnsafeFnPointer: "scripts call no native code",
  UnsafePointer: "scripts call no native code",
  UnsafePointerView: "scripts call no native code",
  bench: "measure with performance.now()",
  bundle: "vendor the result in the module's folder",
  connectQuic: "use fetch or Deno.connect",
  createHttpClient: "use fetch",
  cron: "use a checker of module.yaml, or setInterval",
  dlopen: "scripts call no native code",
  jupyter: "there is no notebook here",
  lint: "there is no linter here",
  listenDatagram: "use node:dgram",
  openKv: "keep data in files",
  run: "use Deno.Command",
  serveHttp: "use Deno.serve",
  startTls: "use node:tls",
  telemetry: "write to the log",
  upgradeWebSocket: "use node:http or plain HTTP",
  watchFs: "use watch of node:fs, or waitFor.file",
};

/** The names, for the documentation's test. */
export const notOffered = Object.keys(NOT_OFFERED);

/** Functions and classes throw when they are used; objects when they are looked at. They do not show among the keys. */
export function refuse(namespace: object): void {
  for (const [name, instead] of Object.entries(NOT_OFFERED)) {
    const fail = (): never => {
      throw new errors.NotSupported(`Deno.${name} is not offered by Holdfast: ${instead}`);
    };
    const object = ["jupyter", "lint", "telemetry"].includes(name);
    // A function that can be called with and without new.
    const refusal = function refusal(): never {
      return fail();
    };
    Object.defineProperty(namespace, name, object ? { get: fail } : { value: refusal });
  }
}
