/**
 * Rules as code: `rules.ts` comes to the same data as `rules` of module.yaml, once, when the module is checked or applied.
 */
import type { ModuleResource } from "./resources.ts";

type ResourceClass =
  | "tcp" | "http" | "ping" | "interface" | "ip" | "module" | "disk" | "custom" | "service" | "process" | "heartbeat"; // biome-ignore format: a list
type AskedResource = ModuleResource | `${ResourceClass}.${"*" | "?"}`;

/** One comparison, `ping.gateway == down`: the module's own resources are known to an editor. */
export type Comparison =
  `${"" | "remote."}${AskedResource} ${"==" | "!="} ${"up" | "down" | "init" | "unknown"}`;

/** A condition: a text as in module.yaml, or others put together. */
export type RuleCondition =
  | Comparison
  // Any text, without losing what an editor proposes.
  | (string & {})
  | { all: readonly RuleCondition[] }
  | { any: readonly RuleCondition[] }
  | { not: RuleCondition };

/** What a rule does. */
export type RuleAction = "restart" | "stopstart" | "stop" | "wait" | "swap";

/** One rule. */
export interface Rule<Condition = RuleCondition> {
  if: Condition;
  then: RuleAction;
}

/** The condition as module.yaml has it. Throws where nothing is put together. */
function conditionText(condition: RuleCondition): string {
  if (typeof condition === "string") return condition;
  if ("not" in condition) return `!(${conditionText(condition.not)})`;
  const [parts, word] = "all" in condition ? [condition.all, "&&"] : [condition.any, "||"];
  if (parts.length === 0)
    throw new Error("a rule asks about nothing: all and any take at least one condition");
  return parts.length === 1
    ? conditionText(parts[0]!)
    : parts.map((part) => `(${conditionText(part)})`).join(` ${word} `);
}

/**
 * The module's rules: `export default defineRules({ no_gateway: { if: "ping.gateway == down", then: "swap" } })` in rules.ts.
 * Returns them as module.yaml has them.
 */
export function defineRules(rules: Readonly<Record<string, Rule>>): Record<string, Rule<string>> {
  return Object.fromEntries(
    // biome-ignore lint/suspicious/noThenProperty: the contract's own word for what a rule does.
    Object.entries(rules).map(([name, rule]) => [name, { if: conditionText(rule.if), then: rule.then }]),
  );
}
