/**
 * One run of the command line: parse, do, say, and the exit status.
 */
import { ApiRefusal, DaemonUnreachable } from "../api/api.ts";
import { ConfigError, JoinRefused } from "../cluster/cluster.ts";
import { CommandError, EXIT, type ExitStatus } from "./command.ts";
import { candidates } from "./completion.ts";
import { commandHelp, describeTable, overview } from "./help.ts";
import { mindStdout, Output } from "./output.ts";
import { parseWords } from "./parse.ts";
import { COMMANDS } from "./table.ts";

/** Runs what `words` ask for and returns the exit status. Never throws. */
export async function runCommandLine(words: readonly string[]): Promise<ExitStatus> {
  const output = new Output(words.includes("--json"));
  mindStdout();
  if (words[0] === "__complete") {
    const offered = candidates(words.slice(1), COMMANDS, process.env["HOLDFAST_VAR"] ?? "/var/lib/holdfast");
    if (offered.length > 0) output.say(offered.join("\n"));
    return EXIT.done;
  }
  try {
    const request = parseWords(words, COMMANDS, process.env);
    if (request.kind === "help") return showHelp(request.about, output);
    return await request.command.run(request.invocation);
  } catch (error) {
    return report(error, output);
  }
}

function showHelp(about: string, output: Output): ExitStatus {
  const command = COMMANDS.find((entry) => entry.name === about);
  const group = COMMANDS.filter((entry) => entry.name.startsWith(`${about} `));
  if (about !== "" && !command && group.length === 0)
    throw new CommandError(EXIT.usage, `unknown command "${about}" (holdfast --help lists all)`);
  output.say(command ? commandHelp(command) : overview(COMMANDS, about));
  output.give({ version: 1, commands: describeTable(command ? [command] : about === "" ? COMMANDS : group) });
  return EXIT.done;
}

function statusOf(error: unknown): ExitStatus {
  if (error instanceof CommandError || error instanceof ApiRefusal) return error.status;
  if (error instanceof DaemonUnreachable) return EXIT.unreachable;
  return error instanceof ConfigError || error instanceof JoinRefused ? EXIT.usage : EXIT.failed;
}

/** Says what went wrong: a message for known errors, and the stack of a bug, which is asked to be reported. */
function report(error: unknown, output: Output): ExitStatus {
  const status = statusOf(error);
  const words = error instanceof Error ? error.message : String(error);
  const isForbidden = (error as NodeJS.ErrnoException).code === "EACCES" && process.getuid?.() !== 0;
  const message = isForbidden ? `${words}: use sudo, or name another directory with --var` : words;
  output.note(`holdfast: ${message}`);
  if (!(error instanceof CommandError) && process.env["HOLDFAST_DEBUG"] && error instanceof Error)
    output.note(error.stack ?? "");
  output.give({ status, message });
  return status;
}
