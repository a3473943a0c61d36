/**
 * A YAML file read together with the place of everything in it, checked against a schema.
 *
 * cluster.yaml and module.yaml are written by hand, so every error says file, line, column and path, and all of them at once.
 */
// `@std/yaml` is an alias of the npm package yaml (package.json): the name on JSR, the document API of npm.
import {
  type Document,
  isCollection,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit,
} from "@std/yaml";
import * as v from "valibot";
import type { Finding } from "./cross_checks.ts";

/** One error or warning, with its place. `line` and `column` count from 1; `path` is empty for the file as a whole. */
export interface Problem {
  file: string;
  line: number;
  column: number;
  path: string;
  message: string;
}

/** `file:line:column: path: message`, one line. */
export function formatProblem(problem: Problem): string {
  const path = problem.path === "" ? "" : `${problem.path}: `;
  return `${problem.file}:${problem.line}:${problem.column}: ${path}${problem.message}`;
}

/** Longest file that is read: far above any real one, far below what would make a parser a weapon. */
const LIMIT_BYTES = 256 * 1024;
/** valibot leaves these keys out of mappings without a word, so they are refused here. */
const FORBIDDEN_KEYS = new Set(["__proto__", "prototype", "constructor"]);
const ENOUGH_PROBLEMS = 100;
/** One that is not YAML is told a few times only: the rest are its consequences. */
const ENOUGH_SYNTAX_ERRORS = 5;

type Path = readonly (string | number)[];

/** `a.b[2].c` */
export function formatPath(path: Path): string {
  return path
    .map((key, index) => (typeof key === "number" ? `[${key}]` : index === 0 ? key : `.${key}`))
    .join("");
}

/** A parsed file: `locate` gives a problem at a path its place. */
export interface YamlFile {
  /** The plain value; undefined when the file is not YAML (see `problems`). */
  value: unknown;
  problems: Problem[];
  locate(finding: Finding): Problem;
}

/** The offset of the value at `path`; of the key when `atKey`, of the deepest mapping that exists when something is missing. */
function offsetOf(document: Document.Parsed, path: Path, atKey: boolean): number {
  let node: unknown = document.contents;
  let offset = document.contents?.range?.[0] ?? 0;
  for (const [depth, key] of path.entries()) {
    const last = depth === path.length - 1;
    if (isMap(node)) {
      const pair = node.items.find(
        (item) => String(isScalar(item.key) ? item.key.value : item.key) === String(key),
      );
      if (!pair) return offset;
      const keyOffset = isScalar(pair.key) ? (pair.key.range?.[0] ?? offset) : offset;
      node = pair.value;
      const empty =
        isScalar(node) && (node.source === "" || node.source === undefined) && node.value === null;
      offset = (last && atKey) || empty || !hasRange(node) ? keyOffset : node.range[0];
    } else if (isSeq(node)) {
      node = node.items[Number(key)];
      if (hasRange(node)) offset = node.range[0];
    } else return offset;
  }
  return offset;
}

function hasRange(node: unknown): node is { range: [number, number, number] } {
  return typeof node === "object" && node !== null && "range" in node && Array.isArray(node.range);
}

/** Reads YAML text; `file` is the name that errors carry. Never throws: what is wrong is in `problems`. */
export function readYaml(text: string, file: string): YamlFile {
  const lines = new LineCounter();
  const at = (offset: number, path: Path, message: string): Problem => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(line, 1), column: Math.max(col, 1), path: formatPath(path), message };
  };
  const refuse = (message: string): YamlFile => {
    const problem = { file, line: 1, column: 1, path: "", message };
    return {
      value: undefined,
      problems: [problem],
      locate: (finding) => ({ ...problem, message: finding.message }),
    };
  };
  if (Buffer.byteLength(text) > LIMIT_BYTES)
    return refuse(`larger than ${LIMIT_BYTES / 1024} KiB: this is not a configuration`);
  let document: Document.Parsed;
  const problems: Problem[] = [];
  let value: unknown;
  try {
    document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
    for (const error of [...document.errors, ...document.warnings].slice(0, ENOUGH_SYNTAX_ERRORS))
      problems.push(at(error.pos[0], [], sentence(error.message)));
    if (problems.length === 0) {
      problems.push(...badKeys(document).map(({ offset, message }) => at(offset, [], message)));
      value = document.toJS({ maxAliasCount: 20 });
    }
  } catch (error) {
    // Nesting deep enough to exhaust the parser's stack, or aliases that multiply.
    return refuse(`cannot be read as YAML: ${error instanceof Error ? error.message : String(error)}`);
  }
  const locate = ({ path, message }: Finding): Problem =>
    at(offsetOf(document, path, message.startsWith("unknown key")), path, message);
  return { value: problems.length > 0 ? undefined : value, problems, locate };
}

function sentence(message: string): string {
  return `not valid YAML: ${message.split("\n")[0]}`;
}

function badKeys(document: Document.Parsed): { offset: number; message: string }[] {
  const found: { offset: number; message: string }[] = [];
  visit(document, {
    Pair(_, pair) {
      const key: unknown = isPair(pair) ? pair.key : null;
      if (isCollection(key))
        found.push({ offset: key.range?.[0] ?? 0, message: "a key must be a plain word" });
      else if (isScalar(key) && FORBIDDEN_KEYS.has(String(key.value)))
        found.push({ offset: key.range?.[0] ?? 0, message: `${String(key.value)} cannot be a key` });
    },
  });
  return found;
}

/** The path of a valibot issue. */
export function issuePath(issue: v.BaseIssue<unknown>): (string | number)[] {
  return (issue.path ?? []).map((item) => (typeof item.key === "number" ? item.key : String(item.key)));
}

/** Removes the key at `path`, so that the schema can find the next unknown one. */
function removeAt(value: unknown, path: Path): void {
  let holder = value;
  for (const key of path.slice(0, -1)) holder = Reflect.get(Object(holder), key);
  Reflect.deleteProperty(Object(holder), path.at(-1) ?? "");
}

/**
 * Checks a file against a schema. Every problem is reported, in the order of the file; `output` is there only when
 * there is none.
 */
export function validateYaml<const Schema extends v.GenericSchema>(
  yaml: YamlFile,
  schema: Schema,
): { output: v.InferOutput<Schema> | null; problems: Problem[] } {
  if (yaml.problems.length > 0) return { output: null, problems: yaml.problems };
  if (typeof yaml.value !== "object" || yaml.value === null || Array.isArray(yaml.value)) {
    const message = yaml.value === null ? "the file is empty" : "expected a mapping (key: value) at the top";
    return { output: null, problems: [yaml.locate({ path: [], message })] };
  }
  const input: unknown = structuredClone(yaml.value);
  const problems: Problem[] = [];
  // valibot names one unknown key of a mapping at a time: take it out and look again.
  for (;;) {
    const result = v.safeParse(schema, input, {
      message: (issue) => `expected ${issue.expected}, found ${issue.received}`,
    });
    if (result.success)
      return problems.length > 0
        ? { output: null, problems: inOrder(problems) }
        : { output: result.output, problems };
    const unknown = result.issues.filter(
      (issue) => issue.type === "strict_object" && issue.expected === "never",
    );
    for (const issue of unknown) {
      const path = issuePath(issue);
      problems.push(yaml.locate({ path, message: issue.message }));
      removeAt(input, path);
    }
    if (unknown.length > 0 && problems.length < ENOUGH_PROBLEMS) continue;
    const told = new Set<string>();
    for (const issue of result.issues) {
      // What is wrong with a value first is what its writer must hear; the rest follows from it.
      const path = issuePath(issue);
      const place = JSON.stringify(path);
      if (!unknown.includes(issue) && !told.has(place))
        problems.push(yaml.locate({ path, message: issue.message }));
      told.add(place);
    }
    return { output: null, problems: inOrder(problems).slice(0, ENOUGH_PROBLEMS) };
  }
}

/** Problems as a reader meets them. */
export function inOrder(problems: readonly Problem[]): Problem[] {
  return [...problems].sort((a, b) => a.file.localeCompare(b.file) || a.line - b.line || a.column - b.column);
}
