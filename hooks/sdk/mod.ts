/**
 * What scripts import from "holdfast".
 */
export type { HookContext } from "../context.ts";
export { type CheckerContext, type CheckerResult, defineChecker, defineHook } from "./define.ts";
export { log } from "./log.ts";
export { secret } from "./secret.ts";
export { type Service, type ServiceOptions, service } from "./service.ts";
export { $, type Command, CommandError, type CommandResult } from "./shell.ts";
export { retry, waitFor } from "./wait.ts";
