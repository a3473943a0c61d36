/** Rules of SafeKit's failover machine as rules of module.yaml: those of one condition and one action, in its own grammar, class.* (all) and class.? (any) too. */
import type { Verdict } from "./row.ts";
import { resourceName } from "./values.ts";

/** One line of the rule section. `line` counts from 1, as in the file. */
export interface Rule {
  line: number;
  source: string;
  verdict: Verdict;
  say: string;
  /** Only when it can be written in module.yaml. */
  label?: string;
  condition?: string;
  action?: string;
}

const RULE = /^([A-Za-z_][\w-]{0,60})\s*:\s*if\s*\((.*)\)\s*then\s+([^;]+);?$/;
const OPERAND = /(?:local\.)?(remote\.)?([A-Za-z]\w*)\.([*?]|[\w.-]+)/;
const COMPARISON = new RegExp(`^${OPERAND.source}\\s*(?:==|!=)\\s*(?:init|down|up|unknown)$`);
/** Classes of resources that are called otherwise here. */
const CLASSES: Readonly<Record<string, string>> = { intf: "interface", proc: "process" };

function none(line: number, source: string, say: string): Rule {
  return { line, source, verdict: "none", say };
}

/** The rules in a section's text, which begins at `firstLine`. Comments and empty lines are nobody's loss. */
export function readRules(text: string, firstLine: number): Rule[] {
  const lines = text.split("\n").map((line) => line.trim());
  if (/^--\s*Lua Rules/i.test(lines.find((line) => line !== "") ?? ""))
    return [none(firstLine, "--Lua Rules", "rules in Lua: write them by hand under rules")];
  const rules: Rule[] = [];
  for (const [index, source] of lines.entries()) {
    if (source === "" || /^(\/\*.*\*\/|\/\/.*|#.*|--.*)$/.test(source)) continue;
    rules.push(readRule(firstLine + index, source));
  }
  return rules;
}

function readRule(line: number, source: string): Rule {
  const [, label, inside, then] = RULE.exec(source) ?? [];
  if (label === undefined || inside === undefined || then === undefined)
    return none(
      line,
      source,
      "not a rule of one line, `label: if (…) then action();`: write it by hand under rules",
    );
  const [, action] = /^(stop|stopstart|wait|restart|swap)\s*\(\s*\)$/.exec(then.trim()) ?? [];
  if (action === undefined)
    return none(line, source, "its action has no equivalent: rules swap, stop, stopstart, restart or wait");
  if (/\w\s*\(/.test(inside)) return none(line, source, "functions in conditions have no equivalent");
  const comparisons = inside.split(/&&|\|\||[!()](?!=)/).map((part) => part.trim());
  if (comparisons.some((part) => part !== "" && !COMPARISON.test(part)))
    return none(line, source, "its condition is not made of comparisons such as tcp.db == down");
  const condition = inside
    .replace(new RegExp(OPERAND, "g"), (_, remote: string | undefined, family: string, name: string) => {
      const ours = Object.hasOwn(CLASSES, family) ? CLASSES[family] : family;
      return `${remote ?? ""}${ours}.${/[*?]/.test(name) ? name : resourceName(name)}`;
    })
    .replace(/\s+/g, " ")
    .trim();
  return {
    line,
    source,
    verdict: "approximated",
    say: "resources are called as in module.yaml (checkers.tcp.db is tcp.db): see that each one in it exists",
    label: label.slice(0, 32).replace(/^[^A-Za-z]/, "r"),
    condition,
    action,
  };
}
