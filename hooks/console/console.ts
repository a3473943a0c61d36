/**
 * The console of scripts: prints as Deno does, straight to the descriptors, so that the order with everything else that is
 * written there (Deno.stdout, commands) is that of the script.
 */
import { print as printTo, stderr, stdout } from "../deno/standard_streams.ts";
import { type InspectOptions, inspect } from "./inspect.ts";
import { tableOf } from "./table.ts";

type Parts = readonly unknown[];

/** One "%…" of a format with its argument. */
function directive(mark: string, value: unknown): string {
  switch (mark) {
    case "s":
      return String(value);
    case "d":
    case "i": {
      if (typeof value === "bigint") return `${value}n`;
      if (typeof value !== "number" && typeof value !== "string") return "NaN";
      return String(
        mark === "i" || typeof value === "string" ? Number.parseInt(String(value), 10) : Math.trunc(value),
      );
    }
    case "f":
      return typeof value === "number" || typeof value === "string"
        ? String(Number.parseFloat(String(value)))
        : "NaN";
    case "j":
      return JSON.stringify(value) ?? "undefined";
    case "c":
      return "";
    default:
      return inspect(value);
  }
}

/** What `console.log` prints for its arguments, without the line's end. */
export function formatArguments(parts: Parts): string {
  const [first, ...rest] = parts;
  const words: string[] = [];
  if (typeof first === "string") {
    words.push(
      first.replace(/%([sdifjoOc%])/g, (whole, mark: string) => {
        if (mark === "%") return parts.length > 1 ? "%" : whole;
        return rest.length === 0 ? whole : directive(mark, rest.shift());
      }),
    );
  } else if (parts.length > 0) words.push(inspect(first));
  for (const part of rest) words.push(typeof part === "string" ? part : inspect(part));
  return words.join(" ");
}

const now = () => performance.now();

/** Puts the console of scripts in the place of the runtime's. */
export function installConsole(): void {
  let indentation = "";
  const counts = new Map<string, number>();
  const timers = new Map<string, number>();
  const print = (stream: typeof stdout, text: string) =>
    printTo(stream, `${indentation === "" ? text : text.replace(/^/gm, indentation)}\n`);
  const out = (...parts: Parts) => print(stdout, formatArguments(parts));
  const err = (...parts: Parts) => print(stderr, formatArguments(parts));
  const group = (...parts: Parts) => {
    if (parts.length > 0) out(...parts);
    indentation += "  ";
  };
  const elapsed = (label: string, rest: Parts, ended: boolean) => {
    const started = timers.get(label);
    if (started === undefined) return err(`Timer '${label}' does not exist`);
    const ms = Math.trunc(now() - started);
    if (ended) timers.delete(label);
    out(ended ? `${label}: ${ms}ms` : `${label}: ${ms}ms`, ...rest);
  };
  Object.assign(globalThis.console, {
    log: out,
    info: out,
    debug: out,
    error: err,
    warn: err,
    trace: (...parts: Parts) => {
      const frames = (new Error().stack ?? "").split("\n").slice(2).join("\n");
      err(`Trace${parts.length > 0 ? `: ${formatArguments(parts)}` : ""}\n${frames}`);
    },
    dir: (value: unknown, options: InspectOptions = {}) => print(stdout, inspect(value, options)),
    dirxml: out,
    assert: (condition: unknown = false, ...parts: Parts) => {
      if (condition) return;
      const [first, ...rest] = parts;
      if (parts.length === 0) err("Assertion failed");
      else if (typeof first === "string") err(`Assertion failed: ${first}`, ...rest);
      else err("Assertion failed:", ...parts);
    },
    count: (label = "default") => {
      const count = (counts.get(String(label)) ?? 0) + 1;
      counts.set(String(label), count);
      print(stdout, `${label}: ${count}`);
    },
    countReset: (label = "default") => {
      if (!counts.has(String(label))) return err(`Count for '${label}' does not exist`);
      counts.set(String(label), 0);
    },
    group,
    groupCollapsed: group,
    groupEnd: () => {
      indentation = indentation.slice(2);
    },
    table: (value: unknown, columns?: readonly string[]) => {
      const table = typeof value === "object" && value !== null ? tableOf(value, columns) : null;
      if (table === null) out(value);
      else print(stdout, table);
    },
    time: (label = "default") => {
      if (timers.has(String(label))) return err(`Timer '${label}' already exists`);
      timers.set(String(label), now());
    },
    timeLog: (label = "default", ...rest: Parts) => elapsed(String(label), rest, false),
    timeEnd: (label = "default") => elapsed(String(label), [], true),
    clear: () => {
      indentation = "";
    },
  });
}
