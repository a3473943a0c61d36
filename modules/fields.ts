/**
 * The kinds of values that module.yaml (and cluster.yaml) fields hold, as valibot schemas with messages for people.
 *
 * Every text is bounded: what one node accepts is handed to all, and ends up in paths, environments and tables.
 */
import { isIP } from "node:net";
import * as v from "valibot";
import { nearest } from "./nearest.ts";
import { formatDuration, parseDuration, parseRate } from "./units.ts";

/** What was found instead, in a message: never more than a few words of it. */
export function found(input: unknown): string {
  if (input === null || input === undefined) return "nothing";
  if (input === A_LIST || Array.isArray(input)) return "a list";
  if (typeof input === "object") return "a mapping";
  const text = typeof input === "string" ? JSON.stringify(input) : String(input);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

/** The sentence that a throwing parser says about a value, or "" when it accepts it. */
function complaint(parse: (value: unknown) => unknown, value: unknown): string {
  try {
    parse(value);
    return "";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** A text of 1 to `limit` characters that matches `pattern`; `what` names it in messages. */
export function text(what: string, pattern: RegExp, limit: number) {
  return v.pipe(
    v.string((issue) => `expected ${what}, found ${found(issue.input)}`),
    v.maxLength(
      limit,
      (issue) => `longer than ${limit} characters: expected ${what}, found ${found(issue.input)}`,
    ),
    v.regex(pattern, (issue) => `expected ${what}, found ${found(issue.input)}`),
  );
}

/** A duration with its unit, between two bounds in ms; the output is in ms. */
export function duration(minimum: number, maximum: number) {
  return v.pipe(
    v.string((issue) => complaint(parseDuration, issue.input)),
    v.regex(
      /^\s*\d+(\.\d+)?\s*(ms|s|m|h|d)\s*$/,
      (issue) => complaint(parseDuration, issue.input) || "not a duration",
    ),
    v.rawTransform(({ dataset, addIssue, NEVER }) => {
      const problem = complaint(parseDuration, dataset.value);
      if (problem !== "") {
        addIssue({ message: problem });
        return NEVER;
      }
      const ms = parseDuration(dataset.value);
      if (ms >= minimum && ms <= maximum) return ms;
      addIssue({
        message: `${dataset.value} is out of range: ${formatDuration(minimum)} to ${formatDuration(maximum)}`,
      });
      return NEVER;
    }),
  );
}

/** A rate with its unit, or `unlimited`; the output is in bytes per second, 0 for unlimited. */
export const rate = v.pipe(
  v.string((issue) => complaint(parseRate, issue.input)),
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    const problem = complaint(parseRate, dataset.value);
    if (problem === "") return parseRate(dataset.value);
    addIssue({ message: problem });
    return NEVER;
  }),
);

/** A whole number between two bounds. */
export function whole(minimum: number, maximum: number) {
  const message = (issue: { input: unknown }) =>
    `expected a whole number from ${minimum} to ${maximum}, found ${found(issue.input)}`;
  return v.pipe(
    v.number(message),
    v.integer(message),
    v.minValue(minimum, message),
    v.maxValue(maximum, message),
  );
}

/** true or false. */
export const truth = v.boolean((issue) => `expected true or false, found ${found(issue.input)}`);

/** One of a few words; a wrong one is answered with the nearest. */
export function oneOf<const Words extends readonly string[]>(...words: Words) {
  return v.picklist(words, (issue) => {
    const near = typeof issue.input === "string" ? nearest(issue.input, words) : null;
    return `expected ${words.join(", ")}, found ${found(issue.input)}${near ? `: did you mean ${near}?` : ""}`;
  });
}

const A_LIST = Symbol("a list");

/** valibot takes a list for a mapping with the keys 0, 1, …; for people it is another thing. */
function refuseLists<Schema extends v.GenericSchema>(schema: Schema): Schema {
  const run = schema["~run"].bind(schema);
  const own: Pick<Schema, "~run"> = {
    "~run": (dataset, config) => run(Array.isArray(dataset.value) ? { value: A_LIST } : dataset, config),
  };
  return Object.assign(schema, own);
}

/** A mapping with exactly these keys; unknown ones are answered with the nearest. */
export function mapping<const Entries extends v.ObjectEntries>(entries: Entries) {
  const schema = v.strictObject(entries, (issue) => {
    if (issue.expected === "never") return unknownKey(String(issue.input), Object.keys(entries));
    if (issue.expected?.startsWith('"')) return `${issue.expected.slice(1, -1)} is missing`;
    return `expected a mapping (${Object.keys(entries).join(", ")}), found ${found(issue.input)}`;
  });
  return refuseLists(schema);
}

/** The sentence about a key that does not exist. */
export function unknownKey(key: string, known: readonly string[]): string {
  const near = nearest(key, known);
  return `unknown key ${found(key)}: ${near ? `did you mean ${near}?` : `expected one of ${known.join(", ")}`}`;
}

/** A list of at most `limit` items, without repetition when `unique`. */
export function list<Item extends v.GenericSchema>(item: Item, limit: number, unique = true) {
  return v.pipe(
    v.array(item, (issue) => `expected a list, found ${found(issue.input)}`),
    v.maxLength(limit, `more than ${limit} items`),
    v.rawCheck(({ dataset, addIssue }) => {
      if (!dataset.typed || !unique) return;
      const seen = new Set<string>();
      for (const [index, value] of dataset.value.entries()) {
        const key = JSON.stringify(value);
        const input = dataset.value;
        if (seen.has(key))
          addIssue({
            message: `${found(value)} is there twice`,
            path: [{ type: "array", origin: "value", input, key: index, value }],
          });
        seen.add(key);
      }
    }),
  );
}

/** A mapping from names to values, at most 64 entries. */
export function named<Key extends v.GenericSchema<string, string>, Value extends v.GenericSchema>(
  key: Key,
  value: Value,
) {
  return v.pipe(
    refuseLists(v.record(key, value, (issue) => `expected a mapping, found ${found(issue.input)}`)),
    v.maxEntries(64, "more than 64 entries"),
  );
}

/** A node's or lan's name. */
export const networkName = text(
  "a name (letters, digits, - and _, starting with a letter)",
  /^[A-Za-z][A-Za-z0-9_-]*$/,
  32,
);
/** A checker's, process's or rule's name: it becomes a part of a resource's name. */
export const resourceName = text(
  "a name (letters, digits, - and _, starting with a letter)",
  /^[A-Za-z][A-Za-z0-9_-]*$/,
  32,
);
/** The name of a variable or secret: also good as an environment variable. */
export const variableName = text(
  "a name (letters, digits and _, starting with a letter)",
  /^[A-Za-z][A-Za-z0-9_]*$/,
  64,
);
/** A name of a service manager's unit. */
export const serviceName = text("a service's name", /^[A-Za-z0-9][A-Za-z0-9:_.@\\-]*$/, 128);
/** Any text that fits in an environment variable. */
export const freeText = text("a text in quotes", /^[^\0]*$/, 4096);
/** A regular expression. */
export const regex = v.pipe(
  text("a regular expression in quotes", /^[^\0]+$/, 1024),
  v.rawCheck(({ dataset, addIssue }) => {
    const problem = dataset.typed
      ? complaint((source) => new RegExp(String(source), "u"), dataset.value)
      : "";
    if (problem !== "") addIssue({ message: problem });
  }),
);

/** An absolute path in its shortest form: no `.`, `..`, doubled or trailing slash, and not the root. */
export const absolutePath = text(
  "an absolute path such as /srv/app/data",
  /^(\/(?!\.{1,2}(\/|$))[^/\0]{1,255})+$/,
  4000,
);

/** A pattern of names to leave out or keep. */
export const pattern = text("a pattern such as *.tmp", /^[^\0]+$/, 1024);

/** An IPv4 or IPv6 address. */
export const ipAddress = v.pipe(
  text("an IP address", /^[0-9A-Fa-f:.]+$/, 45),
  v.check(
    (value) => isIP(value) !== 0,
    (issue) => `expected an IP address, found ${found(issue.input)}`,
  ),
);

/** An address with its prefix length, `10.77.0.100/24` or `fd00::5/64`. */
export const cidr = v.pipe(
  text("an address with its prefix length, such as 10.77.0.100/24", /^[0-9A-Fa-f:.]+\/\d{1,3}$/, 49),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return;
    const problem = cidrProblem(dataset.value);
    if (problem !== "") addIssue({ message: problem });
  }),
);

function cidrProblem(value: string): string {
  const [address = "", prefix = ""] = value.split("/");
  const version = isIP(address);
  const bits = version === 6 ? 128 : 32;
  if (version === 0) return `${found(address)} is not an IP address`;
  if (Number(prefix) < 1 || Number(prefix) > bits)
    return `prefix length ${prefix} is out of range: 1 to ${bits}`;
  const first = version === 4 ? Number(address.split(".")[0]) : 0;
  if (version === 4 && (first === 0 || first === 127 || first >= 224))
    return `${address} cannot be a virtual address`;
  if (version === 6 && /^(::1?|ff.*)$/i.test(address)) return `${address} cannot be a virtual address`;
  return "";
}

/** `host:port` or `[IPv6]:port`. */
export const hostPort = v.pipe(
  text(
    "an address and a port, such as 127.0.0.1:5432",
    /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5}$/,
    260,
  ),
  v.check(
    (value) => {
      const port = Number(value.slice(value.lastIndexOf(":") + 1));
      return port >= 1 && port <= 65_535;
    },
    (issue) => `the port is out of range: 1 to 65535, found ${found(issue.input)}`,
  ),
);
