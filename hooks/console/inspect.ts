/**
 * `Deno.inspect`, and how the console prints values: as Deno does, byte for byte, since scripts' output is compared and parsed.
 */
import { types } from "node:util";
import { layOut, type Parts, type Progress, type Style } from "./layout.ts";
import { formatKey, formatSymbol, formatText } from "./text.ts";

const DEFAULT: Style = {
  depth: 4,
  breakLength: 80,
  compact: 3,
  iterableLimit: 100,
  strAbbreviateSize: 10_000,
  sorted: false,
  getters: false,
  showHidden: false,
  trailingComma: false,
  escapeSequences: true,
  colors: false,
};

/** Options as scripts give them. */
export type InspectOptions = Partial<Omit<Style, "compact">> & { compact?: boolean | number };

const CUSTOM = Symbol.for("Deno.customInspect");
const NODE_CUSTOM = Symbol.for("nodejs.util.inspect.custom");

/** The name of the class that made an object, or null for one without a prototype. */
function constructorName(value: object): string | null {
  for (let object: object | null = value; object !== null; object = Object.getPrototypeOf(object)) {
    const made = Object.getOwnPropertyDescriptor(object, "constructor")?.value as unknown;
    if (typeof made === "function" && made.name !== "" && value instanceof made) return made.name;
  }
  return null;
}

function tagOf(value: object, name: string | null): string {
  const tag: unknown = Reflect.get(value, Symbol.toStringTag);
  return typeof tag === "string" && tag !== "" && tag !== name ? tag : "";
}

/** "Foo ", "Foo(3) ", "[Object: null prototype] ", with " [tag]" where there is one. */
function prefix(name: string | null, tag: string, fallback: string, size = ""): string {
  if (name === null)
    return tag !== "" && tag !== fallback
      ? `[${fallback}${size}: null prototype] [${tag}] `
      : `[${fallback}${size}: null prototype] `;
  return `${name}${size}${tag === "" ? "" : ` [${tag}]`} `;
}

function keysOf(progress: Progress, value: object): (string | symbol)[] {
  const names = progress.showHidden ? Object.getOwnPropertyNames(value) : Object.keys(value);
  const symbols = Object.getOwnPropertySymbols(value).filter(
    (key) => progress.showHidden || Object.prototype.propertyIsEnumerable.call(value, key),
  );
  const keys = [...names, ...symbols];
  return progress.sorted ? keys.sort((a, b) => (String(a) < String(b) ? -1 : 1)) : keys;
}

/** Entries that stand two columns further to the right. */
function indented<Result>(progress: Progress, work: () => Result): Result {
  progress.indentation += 2;
  try {
    return work();
  } finally {
    progress.indentation -= 2;
  }
}

function accessor(progress: Progress, value: object, descriptor: PropertyDescriptor, depth: number): string {
  const label = descriptor.get ? (descriptor.set ? "[Getter/Setter" : "[Getter") : "[Setter";
  if (!progress.getters || !descriptor.get) return `${label}]`;
  try {
    const got: unknown = descriptor.get.call(value);
    return typeof got === "object" && got !== null
      ? `${label}] ${format(progress, got, depth)}`
      : `${label}: ${format(progress, got, depth)}]`;
  } catch (error) {
    return `${label}: <Inspection threw (${error instanceof Error ? error.message : String(error)})>]`;
  }
}

function propertyValue(progress: Progress, value: object, key: string | symbol, depth: number): string {
  const descriptor = Object.getOwnPropertyDescriptor(value, key);
  if (descriptor && (descriptor.get || descriptor.set)) return accessor(progress, value, descriptor, depth);
  return indented(progress, () => format(progress, Reflect.get(value, key), depth));
}

function property(progress: Progress, value: object, key: string | symbol, depth: number): string {
  const hidden = Object.getOwnPropertyDescriptor(value, key)?.enumerable === false;
  return `${formatKey(key, hidden)}: ${propertyValue(progress, value, key, depth)}`;
}

const moreItems = (count: number): string => `... ${count} more item${count > 1 ? "s" : ""}`;

function arrayEntries(progress: Progress, value: readonly unknown[], depth: number): string[] {
  const output: string[] = [];
  let index = 0;
  while (index < value.length && output.length < progress.iterableLimit) {
    if (Object.hasOwn(value, index)) {
      output.push(propertyValue(progress, value, String(index), depth));
      index++;
      continue;
    }
    const start = index;
    while (index < value.length && !Object.hasOwn(value, index)) index++;
    output.push(`<${index - start} empty item${index - start > 1 ? "s" : ""}>`);
  }
  if (index < value.length) output.push(moreItems(value.length - index));
  return output;
}

function iterableEntries<Item>(
  progress: Progress,
  items: Iterable<Item>,
  size: number,
  show: (item: Item) => string,
): string[] {
  const output: string[] = [];
  indented(progress, () => {
    for (const item of items) {
      if (output.length >= progress.iterableLimit) break;
      output.push(show(item));
    }
  });
  if (size > output.length) output.push(moreItems(size - output.length));
  return output;
}

function functionBase(value: (...args: never[]) => unknown, name: string | null): string {
  const source = Function.prototype.toString.call(value);
  if (source.startsWith("class") && source.endsWith("}")) {
    const parent: unknown = Object.getPrototypeOf(value);
    const extended = typeof parent === "function" && parent.name !== "" ? ` extends ${parent.name}` : "";
    return `[class ${value.name === "" ? "(anonymous)" : value.name}${extended}]`;
  }
  const kind = `${types.isAsyncFunction(value) ? "Async" : ""}${types.isGeneratorFunction(value) ? "Generator" : ""}Function`;
  const label = value.name === "" ? " (anonymous)" : `: ${value.name}`;
  return `[${kind}${name === null ? " (null prototype)" : ""}${label}]`;
}

function errorBase(error: Error, indentation: number): string {
  const stack = typeof error.stack === "string" && error.stack !== "" ? error.stack : String(error);
  // Only the first line names an error whose message was changed, or whose stack holds none.
  const whole = stack.startsWith("    at") ? `${String(error)}\n${stack}` : stack;
  return whole.replaceAll("\n", `\n${" ".repeat(indentation)}`);
}

function bytesOf(buffer: ArrayBufferLike, limit: number): string {
  const shown = new Uint8Array(buffer, 0, Math.min(limit, buffer.byteLength));
  const hex = [...shown].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  const more = buffer.byteLength - shown.length;
  return `<${hex}${more > 0 ? ` ... ${more} more byte${more > 1 ? "s" : ""}` : ""}>`;
}

function promiseEntry(progress: Progress, promise: Promise<unknown>, depth: number): string {
  const status = Bun.peek.status(promise);
  if (status === "pending") return "<pending>";
  const shown = indented(progress, () => format(progress, Bun.peek(promise), depth));
  return status === "rejected" ? `<rejected> ${shown}` : shown;
}

const URL_PARTS = [
  "href", "origin", "protocol", "username", "password", "host", "hostname", "port", "pathname", "hash", "search",
] as const; // biome-ignore format: a list

/** What a value consists of, before it is laid out; a text when that is all there is to it. */
function partsOf(progress: Progress, value: object, depth: number): Parts | string {
  const name = constructorName(value);
  const tag = tagOf(value, name);
  let keys = keysOf(progress, value);
  let braces: [string, string] = ["{", "}"];
  let base = "";
  let entries = (): string[] => [];
  let list: Parts["list"];
  if (Array.isArray(value)) {
    const before = name === "Array" && tag === "" ? "" : prefix(name, tag, "Array", `(${value.length})`);
    braces = [`${before}[`, "]"];
    keys = keys.filter((key) => typeof key === "symbol" || !/^(0|[1-9]\d*)$/.test(key));
    if (value.length === 0 && keys.length === 0) return `${braces[0]}]`;
    const more = value.length > progress.iterableLimit;
    list = { numbers: value.every((item) => typeof item === "number" || typeof item === "bigint"), more };
    entries = () => arrayEntries(progress, value, depth);
  } else if (types.isTypedArray(value)) {
    braces = [`${prefix(name, "", "TypedArray", `(${value.length})`)}[`, "]"];
    keys = keys.filter((key) => typeof key === "symbol" || !/^(0|[1-9]\d*)$/.test(key));
    if (value.length === 0 && keys.length === 0) return `${braces[0]}]`;
    list = { numbers: true, more: value.length > progress.iterableLimit };
    entries = () =>
      iterableEntries<number | bigint>(progress, value, value.length, (item) =>
        format(progress, item, depth),
      );
  } else if (types.isSet(value)) {
    braces = [`${prefix(name, tag, "Set", `(${value.size})`)}{`, "}"];
    if (value.size === 0 && keys.length === 0) return `${braces[0]}}`;
    entries = () => iterableEntries(progress, value, value.size, (item) => format(progress, item, depth));
  } else if (types.isMap(value)) {
    braces = [`${prefix(name, tag, "Map", `(${value.size})`)}{`, "}"];
    if (value.size === 0 && keys.length === 0) return `${braces[0]}}`;
    entries = () =>
      iterableEntries(progress, value, value.size, ([key, item]) => {
        return `${format(progress, key, depth)} => ${format(progress, item, depth)}`;
      });
  } else if (typeof value === "function") {
    base = functionBase(value as (...args: never[]) => unknown, name);
    if (keys.length === 0) return base;
  } else if (value instanceof Date) {
    base = Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString();
    if (keys.length === 0) return base;
  } else if (value instanceof RegExp) {
    base = String(value);
    if (keys.length === 0) return base;
  } else if (value instanceof Error) {
    base = errorBase(value, progress.indentation);
    keys = keys.filter((key) => !["name", "message", "stack"].includes(String(key)));
    if (Object.hasOwn(value, "cause") && !keys.includes("cause")) keys.push("cause");
    if (keys.length === 0) return base;
  } else if (types.isAnyArrayBuffer(value)) {
    braces = [`${prefix(name, tag, "ArrayBuffer")}{`, "}"];
    entries = () => [
      `[Uint8Contents]: ${bytesOf(value, progress.iterableLimit)}`,
      `byteLength: ${value.byteLength}`,
    ];
  } else if (types.isPromise(value)) {
    braces = [`${prefix(name, tag, "Promise")}{`, "}"];
    entries = () => [promiseEntry(progress, value, depth)];
  } else if (value instanceof WeakSet || value instanceof WeakMap) {
    braces = [`${prefix(name, tag, "WeakSet")}{`, "}"];
    entries = () => ["<items unknown>"];
  } else if (types.isBoxedPrimitive(value)) {
    base = `[${name ?? "Object"}: ${format(progress, value.valueOf(), depth)}]`;
    if (value instanceof String) keys = keys.filter((key) => typeof key === "symbol" || !/^\d+$/.test(key));
    if (keys.length === 0) return base;
  } else if (value instanceof URL) {
    braces = [`${name ?? "URL"} {`, "}"];
    entries = () => URL_PARTS.map((part) => `${part}: ${formatText(progress, value[part])}`);
  } else if (value instanceof Headers) {
    braces = ["Headers {", "}"];
    entries = () =>
      [...value].map(([key, text]) => `${formatKey(key, false)}: ${formatText(progress, text)}`);
  } else if (types.isModuleNamespaceObject(value)) {
    braces = ["[Module: null prototype] {", "}"];
    keys = keys.filter((key) => key !== Symbol.toStringTag);
  } else {
    const before = types.isArgumentsObject(value)
      ? "[Arguments] "
      : name === "Object" && tag === ""
        ? ""
        : prefix(name, tag, "Object");
    braces = [`${before}{`, "}"];
    if (keys.length === 0) return `${braces[0]}}`;
  }
  if (depth > progress.depth) {
    const label = tag !== "" && tag !== name ? `${name ?? "Object"} [${tag}]` : name;
    return Array.isArray(value) && name === "Array" ? "[Array]" : `[${label ?? "Object: null prototype"}]`;
  }
  progress.currentDepth = depth;
  progress.seen.push(value);
  const output = [...entries(), ...keys.map((key) => property(progress, value, key, depth + 1 - 1))];
  progress.seen.pop();
  return { output, base, braces, depth, ...(list ? { list } : {}) };
}

function formatObject(progress: Progress, value: object, depth: number): string {
  // A URL is the runtime's own, and would print itself in the runtime's way.
  const custom: unknown =
    value instanceof URL ? undefined : (Reflect.get(value, CUSTOM) ?? Reflect.get(value, NODE_CUSTOM));
  if (typeof custom === "function") {
    const shown: unknown =
      Reflect.get(value, CUSTOM) === custom
        ? custom.call(value, (inner: unknown) => format(progress, inner, depth), { ...progress })
        : custom.call(value, progress.depth - depth, { ...progress }, inspect);
    if (typeof shown === "string") return shown.replaceAll("\n", `\n${" ".repeat(progress.indentation)}`);
    if (shown !== value) return format(progress, shown, depth);
  }
  if (progress.seen.includes(value)) {
    const number = progress.circular.get(value) ?? progress.circular.size + 1;
    progress.circular.set(value, number);
    return `[Circular *${number}]`;
  }
  const parts = partsOf(progress, value, depth);
  if (typeof parts === "string") return parts;
  const reference = progress.circular.get(value);
  if (reference !== undefined) {
    const mark = `<ref *${reference}>`;
    parts.base = parts.base === "" ? mark : `${mark} ${parts.base}`;
  }
  return layOut(progress, parts);
}

/** One value inside what is printed. */
function format(progress: Progress, value: unknown, depth: number): string {
  switch (typeof value) {
    case "string":
      return formatText(progress, value);
    case "number":
      return Object.is(value, -0) ? "-0" : String(value);
    case "bigint":
      return `${value}n`;
    case "symbol":
      return formatSymbol(value);
    case "object":
      return value === null ? "null" : formatObject(progress, value, depth + 1);
    case "function":
      return formatObject(progress, value, depth + 1);
    default:
      return String(value);
  }
}

/** `Deno.inspect(value, options)`. Colours are never used: where hooks print, nobody would see them. */
export function inspect(value: unknown, options: InspectOptions = {}): string {
  const { compact = DEFAULT.compact, ...rest } = options;
  const style: Style = {
    ...DEFAULT,
    ...rest,
    compact: typeof compact === "number" ? compact : compact ? DEFAULT.compact : 0,
  };
  const progress: Progress = { ...style, seen: [], circular: new Map(), indentation: 0, currentDepth: 0 };
  return format(progress, value, -1);
}
