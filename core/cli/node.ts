/**
 * What a command asks of the node, or through it of the others.
 */
import { resolve } from "node:path";
import * as v from "valibot";
import { DaemonUnreachable, localApi, resultSchema } from "../api/api.ts";
import type { CommandResult, Engine, LogLine, StatusDocument } from "../daemon/engine.ts";
import { CommandError, EXIT, type ExitStatus, type Invocation } from "./command.ts";
import type { Output } from "./output.ts";

type Where = Pick<Invocation, "varDir" | "target">;

/** This node itself, whatever --node says. */
export const HERE = { node: null, all: false };

/** Sends a request and returns the answer's document. Throws CommandError: status 3 when the daemon does not answer, or what it refused with. */
async function send(
  { varDir, target }: Where,
  method: string,
  path: string,
  body?: unknown,
): Promise<unknown> {
  const answer = await localApi(resolve(varDir)).call(method, path, body, target);
  if (answer.ok) return answer.body;
  const refused = v.safeParse(resultSchema, answer.body);
  if (refused.success) return answer.body;
  throw new CommandError(
    EXIT.failed,
    `the daemon answered ${answer.httpStatus}: ${JSON.stringify(answer.body)}`,
  );
}

/** Asks for what a command does. Throws DaemonUnreachable. */
export async function request(
  where: Where,
  method: string,
  path: string,
  body?: unknown,
): Promise<CommandResult> {
  return v.parse(resultSchema, await send(where, method, path, body));
}

/** As `request`, and tells the user: the answer's words on stdout, or on stderr when it failed. Returns the exit status. */
export async function ask(
  invocation: Invocation,
  what: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<ExitStatus> {
  const { output } = invocation;
  return tellResult(output, await output.progress(what, request(invocation, method, path, body)));
}

/** Tells the user a result: its words on stdout, or on stderr when it is a failure. Returns the exit status. */
export function tellResult(output: Output, result: CommandResult): ExitStatus {
  if (result.status === EXIT.done || result.status === EXIT.no) output.say(result.message);
  else output.note(`holdfast: ${result.message}`);
  output.give(result);
  return result.status;
}

/** A document that is no result, such as the status. Throws CommandError with what the node refused with. */
export async function fetchDocument(where: Where, path: string): Promise<unknown> {
  const body = await send(where, "GET", path);
  const refused = v.safeParse(resultSchema, body);
  if (refused.success) throw new CommandError(refused.output.status, refused.output.message);
  return body;
}

/** Every module on every node. */
export async function fetchStatus(where: Where): Promise<StatusDocument> {
  return (await fetchDocument(where, "/status")) as StatusDocument;
}

/** Lines of the log, of one module or of the node. Throws CommandError with what the node refused with. */
export async function* fetchLog(
  { varDir, target }: Where,
  module: string | null,
  lines: number,
  follow: boolean,
): AsyncGenerator<LogLine> {
  const query = new URLSearchParams({
    lines: String(lines),
    follow: String(follow),
    ...(module === null ? {} : { module }),
  });
  for await (const line of localApi(resolve(varDir)).stream(`/log?${query}`, target)) {
    const refused = v.safeParse(resultSchema, line);
    if (refused.success) throw new CommandError(refused.output.status, refused.output.message);
    yield line as LogLine;
  }
}

/** As `request` to the local daemon, or null when no daemon answers. */
export async function requestIfReachable(
  varDir: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<CommandResult | null> {
  try {
    return await request({ varDir, target: HERE }, method, path, body);
  } catch (error) {
    if (error instanceof DaemonUnreachable) return null;
    throw error;
  }
}

/** The modules that the local daemon has loaded, or null when it does not answer. */
export async function loadedModules(varDir: string): Promise<ReturnType<Engine["modules"]> | null> {
  try {
    return (await fetchDocument({ varDir, target: HERE }, "/modules")) as ReturnType<Engine["modules"]>;
  } catch (error) {
    if (error instanceof DaemonUnreachable) return null;
    if (error instanceof CommandError) return []; // A daemon without a cluster has no modules.
    throw error;
  }
}
