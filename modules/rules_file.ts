/**
 * rules.ts: rules as code. It runs on the machine where the module is checked or applied, once, without any permission, and comes to data:
 * rules.json beside it, which is a part of the revision. Nodes read only that, so all have the same rules, and none runs code to know them.
 */
import { existsSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { runRules } from "../hooks/checker_runner.ts";
import type { HookCall } from "../hooks/context.ts";
import { type ModuleConfig, rulesSchema } from "./schema.ts";
import { problemAt } from "./source_place.ts";
import { formatPath, issuePath, type Problem } from "./yaml_document.ts";

const SOURCE = "rules.ts";
const MADE = "rules.json";
const LIMIT_MS = 5000;
const LIMIT_BYTES = 256 * 1024;

type Rules = ModuleConfig["rules"];

/** Runs rules.ts, where there is one, and writes what it comes to. Returns why it could not. */
export async function makeRules(place: string, limitMs = LIMIT_MS): Promise<Problem[]> {
  if (!existsSync(join(place, SOURCE))) return [];
  const directory = realpathSync(place);
  try {
    const rules = await runRules({
      file: join(directory, SOURCE),
      kind: "typescript",
      context: contextIn(directory),
      timeoutMs: limitMs,
      permissions: {},
      onOutput: () => undefined,
      signal: AbortSignal.timeout(limitMs),
    });
    const text = `${JSON.stringify(rules, null, 2)}\n`;
    const made = join(directory, MADE);
    if (!existsSync(made) || readFileSync(made, "utf8") !== text) writeFileSync(made, text);
    return [];
  } catch (error) {
    return [problemOf(error as Error, join(directory, SOURCE), limitMs)];
  }
}

/** There is no call that it belongs to: nothing in it depends on a node. */
function contextIn(dir: string): HookCall {
  return {
    ...{ module: "rules", node: "", kind: "mirror", hook: "rules", action: "check", from: "", to: "" },
    ...{ cause: "", force: false, attempt: 1, vars: {}, dir, peers: [] },
  };
}

/** What it said, at the place that it named. */
function problemOf({ name, message }: Error, file: string, limitMs: number): Problem {
  const said = name === "TimeoutError" ? `error: has not ended after ${limitMs / 1000} s` : message;
  const own = said.split("\n").filter((line) => line.includes(`${file}:`));
  const [, line = 1, column = 1] = /:(\d+)(?::(\d+))?/.exec(own[0]?.split(file)[1] ?? "") ?? [];
  const words = said.split("\n").filter((one) => !/^\s+at /.test(one));
  const sentence = words
    .join(" ")
    .replace(/^error: /, "")
    .replace(/^\S+:\d+:\d+: /, "");
  return { file: SOURCE, line: Number(line), column: Number(column), path: "", message: sentence };
}

/** What the rules of rules.ts are in this directory, and what is wrong with them; `locate` gives a value's place there. */
export interface MadeRules {
  rules: Rules;
  problems: Problem[];
  locate(path: readonly (string | number)[], message: string): Problem;
}

/** Reads what rules.ts came to; null where there is no rules.ts. */
export function readRules(directory: string): MadeRules | null {
  const source = join(directory, SOURCE);
  if (!existsSync(source)) return null;
  const text = readFileSync(source, "utf8");
  const locate: MadeRules["locate"] = (path, message) => {
    // A rule that the code makes up has no place of its own.
    const key = new RegExp(`(^|[\\s{,])["']?${path[1] ?? ""}["']?\\s*:`, "m").exec(text);
    const offset = path.length < 2 || key === null ? 0 : key.index + key[1]!.length;
    return { ...problemAt(SOURCE, text, offset, message), path: formatPath(path) };
  };
  const refuse = (message: string): MadeRules => ({ rules: {}, problems: [locate([], message)], locate });
  const made = join(directory, MADE);
  if (!existsSync(made))
    return refuse(`there is no ${MADE}, what it comes to: holdfast module check or apply make it`);
  const json = readFileSync(made);
  if (json.length > LIMIT_BYTES) return refuse(`${MADE} is larger than ${LIMIT_BYTES / 1024} KiB`);
  let data: unknown;
  try {
    data = JSON.parse(json.toString("utf8"));
  } catch (error) {
    return refuse(`${MADE}: ${(error as Error).message}`);
  }
  const { success, output, issues } = v.safeParse(rulesSchema, data);
  if (success) return { rules: output, problems: [], locate };
  return {
    rules: {},
    problems: issues.map((issue) => locate(["rules", ...issuePath(issue)], issue.message)),
    locate,
  };
}
