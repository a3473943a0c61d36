/**
 * What a hook is told, and how it travels: as JSON to TypeScript hooks, as HOLDFAST_* variables to executables.
 */
import * as v from "valibot";
import { grantedSchema } from "./limits.ts";
import type { HookCall } from "./sdk/context.ts";
import { serviceOrderSchema } from "./services.ts";

export type { CheckerContext, CheckerResult, HookCall, HookContext } from "./sdk/context.ts";

const peer = v.object({ name: v.string(), addresses: v.record(v.string(), v.string()) });

/** The context without what cannot be sent as JSON. */
export const hookContextSchema: v.GenericSchema<HookCall> = v.object({
  module: v.string(),
  node: v.string(),
  kind: v.picklist(["mirror", "farm", "light"]),
  hook: v.string(),
  action: v.string(),
  from: v.string(),
  to: v.string(),
  cause: v.string(),
  force: v.boolean(),
  attempt: v.number(),
  vars: v.record(v.string(), v.string()),
  dir: v.string(),
  peers: v.array(peer),
  process: v.exactOptional(v.string()),
});

/** Most characters of a checker's words that its child passes on: with them the answer is a small part of what the runner keeps. */
export const ANSWER_DETAIL_MAX = 4096;

/** What a checker may answer, beside true and false. */
export const checkerAnswerSchema = v.object({
  state: v.picklist(["up", "down"]),
  detail: v.exactOptional(v.string()),
});

/** What the runner sends to its child, on standard input. */
export const hookOrderSchema = v.object({
  file: v.string(),
  kind: v.picklist(["typescript", "executable"]),
  context: hookContextSchema,
  timeoutMs: v.number(),
  /** Directory of the cgroup to enter before anything else, or null. */
  cgroup: v.nullable(v.string()),
  /** What the hook may do, or null: everything. */
  limits: v.optional(v.nullable(grantedSchema), null),
  /** True once the limits are in force: the child has started itself again under them. */
  limited: v.optional(v.boolean(), false),
  /** Services to start or stop, in the place of a file; or null. */
  services: v.optional(v.nullable(serviceOrderSchema), null),
  /** A checker: what marks the line of its answer among what it prints. Null: a hook. */
  answerMark: v.optional(v.nullable(v.string()), null),
  /** The answer asked for is what rules.ts comes to. */
  rules: v.optional(v.boolean(), false),
});

/** One order of the runner to its child. */
export type HookOrder = v.InferOutput<typeof hookOrderSchema>;

/** The context as environment variables. */
export function contextVariables(context: HookCall): Record<string, string> {
  const variables: Record<string, string> = {
    HOLDFAST_MODULE: context.module,
    HOLDFAST_NODE: context.node,
    HOLDFAST_KIND: context.kind,
    HOLDFAST_HOOK: context.hook,
    HOLDFAST_ACTION: context.action,
    HOLDFAST_FROM: context.from,
    HOLDFAST_TO: context.to,
    HOLDFAST_CAUSE: context.cause,
    HOLDFAST_FORCE: context.force ? "1" : "0",
    HOLDFAST_ATTEMPT: String(context.attempt),
    HOLDFAST_DIR: context.dir,
    HOLDFAST_PEERS: JSON.stringify(context.peers),
  };
  if (context.process !== undefined) variables["HOLDFAST_PROCESS"] = context.process;
  for (const [name, value] of Object.entries(context.vars)) variables[`HOLDFAST_VAR_${name}`] = value;
  return variables;
}
