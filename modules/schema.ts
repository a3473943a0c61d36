/**
 * module.yaml, in one schema: the types, the validation, the defaults and the JSON Schema of editors come from here.
 *
 * What one value can say about itself stands in the fields; what needs two values is in `crossChecks`.
 */
import { toJsonSchema } from "@valibot/to-json-schema";
import * as v from "valibot";
import {
  absolutePath,
  cidr,
  duration,
  freeText,
  hostPort,
  ipAddress,
  list,
  mapping,
  named,
  networkName,
  oneOf,
  pattern,
  rate,
  regex,
  resourceName,
  serviceName,
  text,
  truth,
  variableName,
  whole,
} from "./fields.ts";

const SECOND_MS = 1000;
const DAY_MS = 86_400_000;

const heartbeat = mapping({
  interval: v.optional(duration(20, 60 * SECOND_MS)),
  timeout: v.optional(duration(100, 600 * SECOND_MS)),
  lans: v.optional(list(networkName, 8)),
});

const virtualIp = mapping({
  address: cidr,
  interface: v.optional(text("an interface's name", /^[^\s/\0]+$/, 15)),
});

const replicatedPath = mapping({
  path: absolutePath,
  exclude: v.optional(list(pattern, 256), []),
  only: v.optional(list(pattern, 256), []),
  notEmpty: v.optional(truth, false),
});

const replicate = mapping({
  lans: v.optional(list(networkName, 8)),
  durability: v.optional(oneOf("fsync", "write"), "fsync"),
  close: v.optional(oneOf("ordered", "acknowledged"), "ordered"),
  timeout: v.optional(duration(100, 600 * SECOND_MS), "5s"),
  bandwidth: v.optional(rate, "unlimited"),
  paths: v.pipe(list(replicatedPath, 64, false), v.minLength(1, "name at least one directory")),
});

const when = oneOf("pre", "prim", "second", "both");
const action = oneOf("restart", "stopstart", "stop", "swap", "wait", "none");
/** What every checker has. The defaults of `when`, `timeout`, `grace` and `action` depend on the rest: core/checks/module_checks.ts. */
const rhythm = {
  when: v.optional(when),
  interval: v.optional(duration(100, DAY_MS), "10s"),
  timeout: v.optional(duration(10, DAY_MS)),
  failures: v.optional(whole(1, 1000), 1),
  successes: v.optional(whole(1, 1000), 1),
  grace: v.optional(duration(0, DAY_MS)),
  action: v.optional(action),
};

const checkers = mapping({
  tcp: v.optional(named(resourceName, mapping({ address: hostPort, ...rhythm })), {}),
  ping: v.optional(named(resourceName, mapping({ address: ipAddress, ...rhythm })), {}),
  http: v.optional(
    named(
      resourceName,
      mapping({
        url: text("an http or https address", /^https?:\/\/[^\s]+$/, 2048),
        status: v.optional(v.pipe(list(whole(100, 599), 32), v.minLength(1, "name at least one status"))),
        body: v.optional(regex),
        verify: v.optional(truth, true),
        ...rhythm,
      }),
    ),
    {},
  ),
  interface: v.optional(
    named(
      resourceName,
      mapping({
        name: text("an interface's name", /^[^\s/\0]+$/, 15),
        address: v.optional(ipAddress),
        ...rhythm,
      }),
    ),
    {},
  ),
  ip: v.optional(named(resourceName, mapping({ address: ipAddress, ...rhythm })), {}),
  module: v.optional(
    named(
      resourceName,
      mapping({
        name: text("a module's name", /^[A-Za-z][A-Za-z0-9_-]*$/, 32),
        on: v.optional(oneOf("here", "anywhere"), "here"),
        ...rhythm,
      }),
    ),
    {},
  ),
  disk: v.optional(
    named(
      resourceName,
      mapping({
        path: absolutePath,
        minFree: v.optional(whole(0, 99), 1),
        write: v.optional(truth, false),
        ...rhythm,
      }),
    ),
    {},
  ),
  custom: v.optional(named(resourceName, mapping(rhythm)), {}),
});

const watchedProcess = mapping({
  regex: v.optional(regex),
  argumentsRegex: v.optional(regex),
  pidFile: v.optional(absolutePath),
  unit: v.optional(serviceName),
  min: v.optional(whole(0, 100_000), 1),
  max: v.optional(whole(0, 100_000)),
  ...rhythm,
});

/** A list of what is allowed, or true: everything. What is left out is allowed nothing, as in Deno. */
const allowed = (entry: typeof freeText | typeof variableName) =>
  v.optional(v.union([truth, list(entry, 256)], "expected a list, or true for everything"));

const permissions = mapping({
  read: allowed(freeText),
  write: allowed(freeText),
  net: allowed(freeText),
  run: allowed(freeText),
  env: allowed(variableName),
});

const rule = mapping({
  if: text("a condition such as ping.gateway == down", /^[^\0]+$/, 1024),
  // biome-ignore lint/suspicious/noThenProperty: the contract's own word for what a rule does.
  then: oneOf("swap", "stop", "stopstart", "restart", "wait"),
});

/** Rules by name, of module.yaml or of what rules.ts comes to. */
export const rulesSchema = named(resourceName, rule);

const port = whole(1, 65_535);

/** What every kind of module has. */
const common = {
  services: v.optional(list(serviceName, 64), []),
  heartbeat: v.optional(heartbeat, {}),
  virtualIps: v.optional(list(virtualIp, 64, false), []),
  probe: v.optional(mapping({ port })),
  boot: v.optional(oneOf("auto", "always", "never"), "auto"),
  maxLoop: v.optional(
    mapping({
      count: v.optional(whole(0, 1000), 3),
      interval: v.optional(duration(SECOND_MS, 366 * DAY_MS), "24h"),
    }),
    {},
  ),
  timeouts: v.optional(
    mapping({
      start: v.optional(duration(100, DAY_MS), "5m"),
      stop: v.optional(duration(100, DAY_MS), "5m"),
      force: v.optional(duration(100, DAY_MS), "1m"),
      fence: v.optional(duration(100, DAY_MS), "1m"),
    }),
    {},
  ),
  vars: v.optional(named(variableName, freeText), {}),
  secrets: v.optional(list(variableName, 64), []),
  permissions: v.optional(permissions),
  processes: v.optional(named(resourceName, watchedProcess), {}),
  checkers: v.optional(checkers, {}),
  rules: v.optional(rulesSchema, {}),
};

const mirror = mapping({
  kind: v.literal("mirror"),
  nodes: v.optional(v.pipe(list(networkName, 2), v.minLength(2, "a mirror has exactly two nodes"))),
  replicate: v.optional(replicate),
  failback: v.optional(networkName),
  failover: v.optional(oneOf("automatic", "manual"), "automatic"),
  onIsolation: v.optional(oneOf("continue", "wait"), "continue"),
  ...common,
});

const portRange = text('a port or a range such as "8000-8010"', /^\d{1,5}-\d{1,5}$/, 11);

const farm = mapping({
  kind: v.literal("farm"),
  nodes: v.optional(v.pipe(list(networkName, 32), v.minLength(2, "a farm has 2 to 32 nodes"))),
  loadBalancing: v.optional(
    mapping({
      mode: v.optional(oneOf("directed", "invisible", "external"), "directed"),
      rules: v.optional(
        list(
          mapping({
            protocol: oneOf("tcp", "udp"),
            ports: v.pipe(
              list(v.union([port, portRange], 'expected a port or a range such as "8000-8010"'), 64),
              v.minLength(1, "name at least one port"),
            ),
            affinity: v.optional(oneOf("client-ip", "connection"), "client-ip"),
          }),
          64,
          false,
        ),
        [],
      ),
      weights: v.optional(named(networkName, whole(0, 1000)), {}),
      priority: v.optional(list(networkName, 32), []),
    }),
  ),
  ...common,
});

const light = mapping({
  kind: v.literal("light"),
  nodes: v.optional(v.pipe(list(networkName, 64), v.minLength(1, "name at least one node"))),
  ...common,
});

/** The whole of module.yaml. The output has every default applied, durations in ms, rates in bytes per second. */
export const moduleSchema = v.variant("kind", [mirror, farm, light], (issue) =>
  issue.expected === "Object" || issue.input === null
    ? "expected a mapping that starts with kind: mirror"
    : issue.input === undefined
      ? "kind is missing: mirror, farm or light"
      : `expected mirror, farm or light, found ${JSON.stringify(issue.input)}`,
);

/** A module's configuration as the rest of the program sees it. */
export type ModuleConfig = v.InferOutput<typeof moduleSchema>;
/** A mirror's configuration. */
export type MirrorConfig = Extract<ModuleConfig, { kind: "mirror" }>;

/** The JSON Schema of module.yaml, for editors (`holdfast module schema`). */
export function moduleJsonSchema(): object {
  return {
    title: "Holdfast module.yaml",
    ...toJsonSchema(moduleSchema, { typeMode: "input", errorMode: "ignore" }),
  };
}
