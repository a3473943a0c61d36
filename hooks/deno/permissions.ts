/** `Deno.permissions`: what the hook's limits in module.yaml leave it. Nothing is ever asked of a person here. */
import { isAbsolute, resolve } from "node:path";
import { type Granted, granted } from "../limits.ts";
import { type Path, pathOf } from "./file_info.ts";

interface Descriptor {
  name: string;
  path?: Path;
  host?: string;
  command?: Path;
  variable?: string;
  kind?: string;
}

const NAMES = ["read", "write", "net", "run", "env", "sys", "ffi", "import"];

/** Only `query` makes them. */
const INTERNAL = Symbol("internal");

/** An answer of `query`. */
export class PermissionStatus extends EventTarget {
  readonly state: "granted" | "denied";
  onchange: ((event: Event) => unknown) | null = null;

  constructor(key: unknown, state: "granted" | "denied") {
    if (key !== INTERNAL) throw new TypeError("Illegal constructor");
    super();
    this.state = state;
  }

  get [Symbol.toStringTag](): string {
    return "PermissionStatus";
  }

  /** True when a part of it is denied: never here. */
  get partial(): boolean {
    return false;
  }
}

function within(path: string, directories: readonly string[]): boolean {
  return directories.some(
    (directory) => path === directory || path.startsWith(`${directory}/`.replace("//", "/")),
  );
}

function allows(
  list: readonly string[] | true,
  wanted: string | undefined,
  match: (list: readonly string[]) => boolean,
): boolean {
  return list === true || (wanted !== undefined && match(list));
}

/** Whether the limits leave what the descriptor names. */
function isGranted(limits: Granted, { name, path, host, command, variable }: Descriptor): boolean {
  switch (name) {
    case "read":
    case "write": {
      const wanted = path === undefined ? undefined : resolve(pathOf(path));
      return allows(limits[name], wanted, (list) => within(wanted!, list));
    }
    case "net":
      return allows(
        limits.net,
        host,
        (list) => list.includes(host!) || list.includes(host!.replace(/:\d+$/, "")),
      );
    case "run": {
      const wanted = command === undefined ? undefined : pathOf(command);
      return allows(limits.run, wanted, (list) =>
        list.some((entry) => entry === wanted || (!isAbsolute(wanted!) && entry.endsWith(`/${wanted}`))),
      );
    }
    case "env":
      return allows(limits.env, variable, (list) => list.includes(variable!));
    default:
      return true;
  }
}

/** The class of `Deno.permissions`. */
export class Permissions {
  constructor(key: unknown) {
    if (key !== INTERNAL) throw new TypeError("Illegal constructor");
  }

  querySync(descriptor: Descriptor): PermissionStatus {
    if (!NAMES.includes(descriptor.name))
      throw new TypeError(`The provided value "${descriptor.name}" is not a valid permission name`);
    return new PermissionStatus(INTERNAL, isGranted(granted(), descriptor) ? "granted" : "denied");
  }

  async query(descriptor: Descriptor): Promise<PermissionStatus> {
    return this.querySync(descriptor);
  }

  requestSync(descriptor: Descriptor): PermissionStatus {
    return this.querySync(descriptor);
  }

  async request(descriptor: Descriptor): Promise<PermissionStatus> {
    return this.querySync(descriptor);
  }
}

/** `Deno.permissions`. */
export const permissions = new Permissions(INTERNAL);
