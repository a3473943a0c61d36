/**
 * What scripts import from "holdfast".
 */
export { adopt } from "./adopt.ts";
export type { CheckerContext, CheckerResult, HookCall, HookContext } from "./context.ts";
export { defineChecker, defineHook } from "./define.ts";
export { log } from "./log.ts";
export { type Comparison, defineRules, type Rule, type RuleAction, type RuleCondition } from "./rules.ts";
export { secret, secretFile } from "./secret.ts";
export { type Service, type ServiceOptions, service } from "./service.ts";
export { $, Command, CommandError, type CommandResult, powershell } from "./shell.ts";
export { retry, type WaitOptions, waitFor } from "./wait.ts";
