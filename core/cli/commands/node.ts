/**
 * Commands about this machine: its daemon, scripts, what it can do.
 */
import { statSync } from "node:fs";
import { type Command, CommandError, EXIT, type ExitStatus } from "../command.ts";
import { examine } from "../doctor.ts";
import { columns } from "../output.ts";
import { WATCHDOG_OPTIONS, watchdogOf } from "./watchdog.ts";

/** See the top of the file. */
export const NODE_COMMANDS: readonly Command[] = [
  {
    name: "daemon",
    summary: "Run the node's engine, in the foreground",
    details:
      "SIGTERM or SIGINT stops this node's modules cleanly, then the daemon. What runs survives a daemon that dies and comes back in time.",
    changes:
      "Starts the modules that ran before, and those that always start. Listens on the cluster's ports.",
    options: WATCHDOG_OPTIONS,
    examples: [
      "holdfast daemon",
      "holdfast daemon --var /srv/holdfast",
      "holdfast daemon --watchdog /dev/watchdog",
    ],
    run: async (invocation) => {
      const { varDir, output } = invocation;
      const watchdog = watchdogOf(invocation);
      const tell = (message: string): void => {
        output.say(`holdfast: ${message}`);
        output.give({ time: new Date().toISOString(), message });
      };
      const { runDaemon } = await import("../../daemon/daemon.ts");
      try {
        await runDaemon({ varDir, watchdog, tell });
      } catch (error) {
        const { code, path } = error as NodeJS.ErrnoException;
        if (code !== "EACCES") throw error;
        throw new CommandError(
          EXIT.failed,
          `${path ?? varDir}: permission denied: the daemon needs root (sudo)`,
        );
      }
      process.exit(EXIT.done);
    },
  },
  {
    name: "run",
    summary: "Run a TypeScript file with the runtime that hooks have; its exit status is passed on",
    arguments: [
      { name: "FILE", help: "the file" },
      { name: "ARG", help: "what the file gets as its arguments", optional: true, many: true },
    ],
    passesOn: true,
    changes: "What the file changes.",
    details:
      'It may import "holdfast", @std/yaml, any node: module and what the nearest deno.json maps, and sees the Deno namespace. What follows FILE is the file\'s own, options too.',
    examples: ["holdfast run ./report.ts --month 11"],
    run: async ({ arguments: { FILE }, rest }) => {
      const file = statSync(FILE!, { throwIfNoEntry: false });
      if (!file) throw new CommandError(EXIT.usage, `${FILE} is not there`);
      if (!file.isFile()) throw new CommandError(EXIT.usage, `${FILE} is not a file`);
      const { runScript } = await import("../../../hooks/child.ts");
      runScript(FILE!, rest);
      // The script may go on, and sets the status when it ends.
      return (process.exitCode ?? EXIT.done) as ExitStatus;
    },
  },
  {
    name: "demo",
    summary: "Show it all on this machine: a node dies under a client, and nothing is missing",
    options: { keep: { help: "leave the cluster running afterwards, and print how to enter its machines" } },
    changes:
      "Nothing: it plays in namespaces of its own and in a directory under /var/tmp, which go with it.",
    examples: ["holdfast demo", "holdfast demo --keep"],
    run: async ({ flags, output }) => {
      const { runDemo } = await import("../demo/demo.ts");
      return await runDemo(flags.has("keep"), output);
    },
  },
  {
    name: "doctor",
    summary: "Examine whether this machine can be a node",
    details:
      "Looks at the kernel, at what mirrors (fuse) and farms (nft, nf_tables) need, at this machine's clock and the other nodes', at ports, probes and the witness; what is not good says what to do. A farm's filter is tried in a network of its own.",
    changes: "Nothing. Exit status 4 when it found problems.",
    examples: ["holdfast doctor", "holdfast doctor --json"],
    run: async ({ varDir, output }) => {
      const findings = await output.progress("examining", examine(varDir));
      const mark = {
        good: output.paint("green", "good"),
        warning: output.paint("yellow", "warning"),
        problem: output.paint("red", "problem"),
      };
      output.say(columns(findings.map(({ level, what, detail }) => [mark[level], what, detail])));
      output.give({ version: 1, findings });
      return findings.some(({ level }) => level === "problem") ? EXIT.no : EXIT.done;
    },
  },
];
