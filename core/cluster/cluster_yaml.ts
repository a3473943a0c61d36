/**
 * cluster.yaml: what a cluster is, as people write it.
 *
 * A file is taken whole or refused whole, and every fault is named with its line, its column and the path of the field:
 * a cluster that starts on half of what was meant fails on the day that it is needed.
 */
import { isIP } from "node:net";
import { type Document, isMap, isPair, isScalar, LineCounter, parseDocument } from "@std/yaml";
import * as v from "valibot";
import { parseDuration } from "../../modules/units.ts";

/** Where a node is on one lan: `address` is what the others dial, `bind` what it listens on (the same, but behind NAT). */
export interface LanAddress {
  address: string;
  bind: string;
}

/** One node of cluster.yaml. `number` is its place there, from 1. */
export interface ClusterNode {
  name: string;
  number: number;
  addresses: Readonly<Record<string, LanAddress>>;
}

/** What cluster.yaml says, with every default filled in. */
export interface ClusterConfig {
  name: string;
  /** By name, in the order of the file. */
  nodes: Readonly<Record<string, ClusterNode>>;
  /** Names of the lans, in the order of the first node. */
  lans: readonly string[];
  /** HTTPS; heartbeats are on `port + 1` (UDP), replication of module N on `port + 1 + N` (TCP). */
  port: number;
  heartbeat: { intervalMs: number; timeoutMs: number };
}

/** One fault of a configuration file. `path` is the field's, such as `nodes.n1.addresses.lan`. */
export interface ConfigFault {
  path: string;
  line: number;
  column: number;
  message: string;
}

/** A configuration file was refused. The message has one `file:line:column: path: what is wrong` per line. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly faults: readonly ConfigFault[];

  constructor(file: string, faults: readonly ConfigFault[]) {
    super(
      faults
        .map((f) => `${file}:${f.line}:${f.column}: ${f.path === "" ? "" : `${f.path}: `}${f.message}`)
        .join("\n"),
    );
    this.faults = faults;
  }
}

/** The HTTPS port when cluster.yaml names none. */
export const DEFAULT_PORT = 9453;
/** Without a witness that records, a takeover waits longer: a virtual machine may stand still for seconds. */
const DEFAULT_TIMEOUT_MS = 3000;
const DEFAULT_INTERVAL_MS = 200;
/** Leaves room above `port` for the replication ports of the modules. */
const MAX_PORT = 65_000;
const MAX_NODES = 64;
const MAX_LANS = 8;
const MAX_FILE_BYTES = 256 * 1024;

const nameOf = (what: string) =>
  v.pipe(
    v.string(`a ${what} is a text`),
    v.regex(
      /^[a-z]([a-z0-9_-]{0,30}[a-z0-9])?$/,
      `a ${what} has 1 to 32 of a-z, 0-9, "-" and "_", starts with a letter and ends with a letter or digit`,
    ),
  );

const ipAddress = v.pipe(
  v.string("write an IP address, such as 10.77.0.1"),
  v.check(
    (text) => isIP(text) !== 0,
    "not an IP address: write one such as 10.77.0.1 or fd00::1 (names are not resolved)",
  ),
  v.check(
    (text) => !/^(0\.0\.0\.0|::|22[4-9]\..*|23\d\..*|255\.255\.255\.255|ff..:.*)$/i.test(text),
    "not the address of one node",
  ),
);

const lanAddress = v.union(
  [
    v.pipe(
      ipAddress,
      v.transform((address): LanAddress => ({ address, bind: address })),
    ),
    v.pipe(
      v.strictObject({ address: ipAddress, bind: v.optional(ipAddress) }),
      v.transform((both): LanAddress => ({ address: both.address, bind: both.bind ?? both.address })),
    ),
  ],
  (issue) => deepestMessage(issue.issues) ?? "write an IP address, or { address: …, bind: … }",
);

/** A union's own message says nothing: the alternative that fits the kind of value knows better. */
function deepestMessage(issues: readonly v.BaseIssue<unknown>[] | undefined): string | undefined {
  const own = issues?.find((issue) => issue.kind === "validation" || (issue.path?.length ?? 0) > 0);
  if (own === undefined) return undefined;
  const field = own.path?.at(-1)?.key;
  return typeof field === "string" ? `${field}: ${explain(own)}` : explain(own);
}

const duration = (least: number, most: number, range: string) =>
  v.pipe(
    v.unknown(),
    v.rawTransform(({ dataset, addIssue, NEVER }) => {
      try {
        const ms = parseDuration(dataset.value);
        if (ms >= least && ms <= most) return ms;
        addIssue({ message: `must be ${range}` });
      } catch (error) {
        addIssue({ message: error instanceof Error ? error.message : String(error) });
      }
      return NEVER;
    }),
  );

const schema = v.strictObject({
  name: nameOf("cluster's name"),
  nodes: v.pipe(
    v.record(
      nameOf("node's name"),
      v.strictObject(
        {
          addresses: v.pipe(
            v.record(nameOf("lan's name"), lanAddress, "write the node's lans: { lan: 10.77.0.1 }"),
            v.minEntries(1, "a node needs an address on at least one lan"),
            v.maxEntries(MAX_LANS, `at most ${MAX_LANS} lans`),
          ),
        },
        "write a node as { addresses: { lan: 10.77.0.1 } }",
      ),
      "write the nodes by name: n1: { addresses: { lan: 10.77.0.1 } }",
    ),
    v.minEntries(1, "a cluster needs at least one node"),
    v.maxEntries(MAX_NODES, `at most ${MAX_NODES} nodes`),
  ),
  port: v.optional(
    v.pipe(
      v.number("a port is a number"),
      v.integer("a port is a whole number"),
      v.minValue(1, "a port is at least 1"),
      v.maxValue(MAX_PORT, `at most ${MAX_PORT}: the heartbeat and replication ports follow it`),
    ),
    DEFAULT_PORT,
  ),
  heartbeat: v.optional(
    v.strictObject(
      {
        interval: v.optional(duration(20, 60_000, "from 20ms to 1m"), `${DEFAULT_INTERVAL_MS}ms`),
        timeout: v.optional(duration(100, 600_000, "from 100ms to 10m"), `${DEFAULT_TIMEOUT_MS}ms`),
      },
      "write the heartbeat as { interval: 200ms, timeout: 3s }",
    ),
    {},
  ),
  witness: v.optional(
    v.custom<undefined>(
      (value) => value === undefined,
      "a witness is not supported by this version: take this field out",
    ),
  ),
});

/** Every field name that cluster.yaml knows, for "did you mean". */
const FIELD_NAMES = [
  "name",
  "nodes",
  "port",
  "heartbeat",
  "witness",
  "addresses",
  "address",
  "bind",
  "interval",
  "timeout",
];

/** valibot's words for structural faults, in ours. */
function explain(issue: v.BaseIssue<unknown>): string {
  if (issue.type !== "strict_object" && issue.type !== "record") return issue.message;
  const key = issue.path?.at(-1)?.key;
  if (issue.expected === "never" && typeof key === "string") {
    const near = FIELD_NAMES.find((name) => isNear(name, key));
    return `unknown field${near === undefined ? "" : `: did you mean ${near}?`}`;
  }
  if (issue.received === "undefined") return "is missing";
  return issue.message.startsWith("Invalid") ? `must be a mapping, not ${issue.received}` : issue.message;
}

/** True if one change, insertion, deletion or swap of neighbours, at most two of them, makes `b` of `a`. */
function isNear(a: string, b: string): boolean {
  if (Math.abs(a.length - b.length) > 2) return false;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]! <= 2;
}

/** Where the field at `path` is written; the nearest enclosing field when it is missing; a key's place if `atKey`. */
function positionOf(
  document: Document.Parsed,
  lines: LineCounter,
  path: readonly PropertyKey[],
  atKey: boolean,
): { line: number; column: number } {
  let node: unknown = document.contents;
  let offset = 0;
  for (const [depth, key] of path.entries()) {
    if (!isMap(node)) break;
    const pair = node.items.find(
      (item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(key),
    );
    if (pair === undefined) break;
    if (isScalar(pair.key) && pair.key.range) offset = pair.key.range[0];
    if (depth === path.length - 1 && atKey) break;
    node = pair.value;
    const range = (node as { range?: [number, number, number] | null } | null)?.range;
    if (range && (isScalar(node) || depth === path.length - 1)) offset = range[0];
  }
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(1, line), column: Math.max(1, col) };
}

/** What no single field can know: addresses used twice, lans that a node lacks, a timeout shorter than the heartbeat. */
function crossFaults(value: v.InferOutput<typeof schema>): { path: string[]; message: string }[] {
  const faults: { path: string[]; message: string }[] = [];
  const owners = new Map<string, string>();
  const entries = Object.entries(value.nodes);
  const lans = Object.keys(entries[0]?.[1].addresses ?? {});
  for (const [node, { addresses }] of entries) {
    for (const lan of lans)
      if (!Object.hasOwn(addresses, lan))
        faults.push({
          path: ["nodes", node, "addresses"],
          message: `lacks lan ${lan}, which ${entries[0]![0]} has: every node has an address on every lan`,
        });
    for (const [lan, { address }] of Object.entries(addresses)) {
      if (!lans.includes(lan))
        faults.push({
          path: ["nodes", node, "addresses", lan],
          message: `${entries[0]![0]} has no lan of this name: every node has an address on every lan`,
        });
      const owner = owners.get(address);
      if (owner !== undefined)
        faults.push({
          path: ["nodes", node, "addresses", lan],
          message: `${address} is already the address of ${owner}`,
        });
      owners.set(address, `${node} on ${lan}`);
    }
  }
  if (value.heartbeat.timeout < 2 * value.heartbeat.interval)
    faults.push({
      path: ["heartbeat", "timeout"],
      message: "must be at least twice the interval: one lost heartbeat is not a lost node",
    });
  return faults;
}

/**
 * Reads the text of a cluster.yaml. `file` is the name for messages.
 * Throws ConfigError with every fault of the file; nothing is taken from a file with a fault.
 */
export function parseClusterYaml(text: string, file = "cluster.yaml"): ClusterConfig {
  if (text.length > MAX_FILE_BYTES)
    throw new ConfigError(file, [
      { path: "", line: 1, column: 1, message: `larger than ${MAX_FILE_BYTES} bytes` },
    ]);
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    strict: true,
    uniqueKeys: true,
  });
  if (document.errors.length > 0)
    throw new ConfigError(
      file,
      document.errors.map((error) => {
        const { line, col } = lines.linePos(error.pos[0]);
        return { path: "", line, column: col, message: error.message };
      }),
    );
  if (!isMap(document.contents))
    throw new ConfigError(file, [
      { path: "", line: 1, column: 1, message: "must be a mapping with name and nodes" },
    ]);
  const found = v.safeParse(schema, document.toJS({ maxAliasCount: 20 }));
  const faultAt = (path: readonly PropertyKey[], message: string, atKey: boolean): ConfigFault => ({
    path: path.map(String).join("."),
    message,
    ...positionOf(document, lines, path, atKey),
  });
  if (!found.success)
    throw new ConfigError(
      file,
      found.issues.map((issue) => {
        const path = issue.path?.map((item) => item.key as PropertyKey) ?? [];
        const atKey = issue.expected === "never" || issue.path?.at(-1)?.origin === "key";
        return faultAt(path, explain(issue), atKey);
      }),
    );
  const crossed = crossFaults(found.output);
  if (crossed.length > 0)
    throw new ConfigError(
      file,
      crossed.map((fault) => faultAt(fault.path, fault.message, false)),
    );
  return withNumbers(found.output);
}

function withNumbers(value: v.InferOutput<typeof schema>): ClusterConfig {
  const names = Object.keys(value.nodes);
  const nodes = names.map(
    (name, index) => [name, { name, number: index + 1, addresses: value.nodes[name]!.addresses }] as const,
  );
  return {
    name: value.name,
    nodes: Object.fromEntries(nodes),
    lans: Object.keys(value.nodes[names[0]!]!.addresses),
    port: value.port,
    heartbeat: { intervalMs: value.heartbeat.interval, timeoutMs: value.heartbeat.timeout },
  };
}
