/** `module test`: a module's own tests, for people, as TAP or as JSON. */
import { realpathSync } from "node:fs";
import { writeSdk } from "../../../modules/mod.ts";
import { type FileResult, runTestFile, type TestResult, testFiles } from "../../../modules/module_tests.ts";
import { parseDuration } from "../../../modules/units.ts";
import { type Command, CommandError, EXIT, type ExitStatus, type Invocation } from "../command.ts";
import type { Output } from "../output.ts";
import { moduleDirectories } from "./module_place.ts";

const DEFAULT_LIMIT = "60s";

function indented(text: string, prefix = "    "): string {
  return text.trimEnd().replaceAll(/^/gm, prefix);
}

/** A file's results as people read them; what it printed is shown when something failed. */
function tell(output: Output, { results, output: printed }: FileResult): void {
  for (const { file, name, status, ms, error } of results) {
    const mark = {
      passed: output.paint("green", "ok  "),
      failed: output.paint("red", "FAIL"),
      ignored: "--  ",
    };
    output.say(`${mark[status]} ${file}: ${name}${status === "ignored" ? " (ignored)" : `  ${ms} ms`}`);
    if (error !== "") output.say(indented(error));
  }
  if (results.some(({ status }) => status === "failed") && printed.trim() !== "")
    output.say(`  printed:\n${indented(printed)}`);
}

/** Lines of TAP version 14. */
function tapLines(results: readonly TestResult[]): string[] {
  const lines = results.flatMap(({ file, name, status, ms, error }, index) => {
    const title = `${file}: ${name}`.replaceAll(/[\\#]/g, "\\$&");
    const ok = `${status === "failed" ? "not ok" : "ok"} ${index + 1} - ${title}${status === "ignored" ? " # SKIP" : ""}`;
    const detail =
      error === "" ? [] : ["  ---", "  message: |", indented(error), `  duration_ms: ${ms}`, "  ..."];
    return [ok, ...detail];
  });
  return ["TAP version 14", `1..${results.length}`, ...lines];
}

async function testModules({
  arguments: args,
  values,
  flags,
  varDir,
  output,
}: Invocation): Promise<ExitStatus> {
  let limitMs: number;
  try {
    limitMs = parseDuration(values["timeout"] ?? DEFAULT_LIMIT);
  } catch (error) {
    throw new CommandError(EXIT.usage, `--timeout: ${(error as Error).message}`);
  }
  const files: (FileResult & { directory: string })[] = [];
  const tap = flags.has("tap") && !output.json;
  for (const place of moduleDirectories(args["NAME"], varDir)) {
    const directory = realpathSync(place);
    await writeSdk(directory);
    for (const file of testFiles(directory)) {
      const filter = values["filter"] ?? "";
      const running = runTestFile(directory, file, { limitMs, filter });
      const done = { directory, ...(await output.progress(`running ${file}`, running)) };
      files.push(done);
      if (!tap) tell(output, done);
    }
  }
  const results = files.flatMap((file) => file.results);
  const count = (wanted: TestResult["status"]) => results.filter(({ status }) => status === wanted).length;
  const [passed, failed, ignored] = [count("passed"), count("failed"), count("ignored")];
  const status = failed > 0 ? EXIT.failed : EXIT.done;
  if (files.length === 0)
    output.note("no test: the files of a module whose name ends in .test.ts are its tests");
  if (tap) output.say(tapLines(results).join("\n"));
  else if (files.length > 0)
    output.say(`${passed} passed, ${failed} failed${ignored > 0 ? `, ${ignored} ignored` : ""}`);
  output.give({ version: 1, status, passed, failed, ignored, files });
  return status;
}

/** See the top of the file. */
export const TEST_COMMANDS: readonly Command[] = [
  {
    name: "module test",
    summary: "Run a module's own tests against a node that is made up",
    arguments: [
      {
        name: "NAME",
        help: "a module, or a directory (with a slash); without it, every module of this node",
        optional: true,
      },
    ],
    options: {
      filter: { value: "TEXT", help: "only tests whose name holds this" },
      tap: { help: "print TAP, as other test tools read it" },
      timeout: { value: "TIME", help: `how long one file may take (default: ${DEFAULT_LIMIT})` },
    },
    changes:
      "Nothing of the module itself; the SDK in its .holdfast folder is brought up to date. What the tests do, they do: they run as you. Exit status 1 when one fails.",
    details:
      "Tests are the files whose name ends in .test.ts: they register with Deno.test, and import FakeNode from holdfast/testing. Each file runs in a process of its own, with the module's folder as its current directory. deno test -A runs them too.",
    examples: [
      "holdfast module test db",
      "holdfast module test ./db --filter stop --timeout 10s",
      "holdfast module test db --tap",
      "holdfast module test --json",
    ],
    run: testModules,
  },
];
