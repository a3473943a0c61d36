/**
 * The words of the terminal: what they ask for, what is refused, and what every command tells about itself.
 */
import t from "tap";
import { type Command, CommandError, EXIT } from "../../core/cli/command.ts";
import { candidates, completionScript, SHELLS } from "../../core/cli/completion.ts";
import { commandHelp, overview, referencePage } from "../../core/cli/help.ts";
import { columns } from "../../core/cli/output.ts";
import { parseWords, type Request } from "../../core/cli/parse.ts";
import { COMMANDS } from "../../core/cli/table.ts";
import { durationText } from "../../modules/units.ts";

function invoke(words: string[], environment: NodeJS.ProcessEnv = {}): Extract<Request, { kind: "run" }> {
  const request = parseWords(words, COMMANDS, environment);
  if (request.kind !== "run") throw new Error(`asked for help: ${request.about}`);
  return request;
}

function refusal(words: string[]): string {
  try {
    parseWords(words, COMMANDS, {});
  } catch (error) {
    if (error instanceof CommandError && error.status === EXIT.usage) return error.message;
    throw error;
  }
  return "";
}

t.test("a command is found, with arguments and options in any order", async (t) => {
  const request = invoke([
    "--var",
    "/tmp/n1",
    "module",
    "new",
    "db",
    "--set",
    "a.b=1",
    "--template",
    "postgresql",
    "--set=c=2",
    "--json",
  ]);
  t.equal(request.command.name, "module new");
  t.equal(request.invocation.arguments["NAME"], "db");
  t.equal(request.invocation.varDir, "/tmp/n1");
  t.equal(request.invocation.values["template"], "postgresql");
  t.strictSame(request.invocation.lists["set"], ["a.b=1", "c=2"]);
  t.ok(request.invocation.output.json);
});

t.test("VAR comes from the option, then the environment, then the default", async (t) => {
  t.equal(invoke(["status"]).invocation.varDir, "/var/lib/holdfast");
  t.equal(invoke(["status"], { HOLDFAST_VAR: "/a" }).invocation.varDir, "/a");
  t.equal(invoke(["status", "--var", "/b"], { HOLDFAST_VAR: "/a" }).invocation.varDir, "/b");
});

t.test("what follows the file of run belongs to the file", async (t) => {
  const { invocation } = invoke(["run", "--var", "/v", "x.ts", "--json", "--help", "run"]);
  t.equal(invocation.varDir, "/v");
  t.strictSame([invocation.arguments["FILE"], ...invocation.rest], ["x.ts", "--json", "--help", "run"]);
});

t.test("options may stand before, between and after the words of a command", async (t) => {
  for (const words of ["--var /v module new x", "module --var /v new x", "module new x --var /v"]) {
    const { command, invocation } = invoke(words.split(" "));
    t.strictSame([command.name, invocation.arguments["NAME"], invocation.varDir], ["module new", "x", "/v"]);
  }
  t.equal(invoke(["--var", "run", "run", "x.ts", "a"]).invocation.varDir, "run");
  t.strictSame(invoke(["--var", "/v", "run", "x.ts", "a"]).invocation.rest, ["a"]);
  t.equal(invoke(["--version", "--json"]).command.name, "version");
  t.match(refusal(["cluster", "--var", "/v"]), /cluster what\? create, token/);
});

t.test("wrong words are refused with the nearest right one", async (t) => {
  t.match(
    refusal(["statsu"]),
    /unknown command "statsu": did you mean "status"\?|unknown command "statsu"; did you mean "status"\?/,
  );
  t.match(refusal(["cluster", "jion", "x"]), /did you mean "join"/);
  t.match(refusal(["status", "--wacth"]), /unknown option --wacth; did you mean "--watch"/);
  t.match(refusal(["boot", "db", "alway"]), /must be one of always, never, auto/);
  t.match(refusal(["start"]), /NAME is missing/);
  t.match(refusal(["start", "a", "b"]), /one argument too many/);
  t.match(refusal(["start", "a", "--node"]), /node/);
  t.match(refusal(["start", "a", "--node", "n1", "--all"]), /exclude each other/);
});

t.test("--help never runs a command", async (t) => {
  for (const command of COMMANDS) {
    const request = parseWords([...command.name.split(" "), "--help"], COMMANDS, {});
    t.strictSame(request, { kind: "help", about: command.name, json: false });
  }
});

t.test("every command tells all about itself", async (t) => {
  for (const command of COMMANDS) {
    const help = commandHelp(command);
    t.ok(command.examples.length > 0, `${command.name} has an example`);
    for (const example of command.examples)
      t.match(example, command.name.split(" ")[0], `${command.name}: its example is about it`);
    t.ok(command.changes.endsWith("."), `${command.name} says what it changes`);
    for (const option of Object.keys(command.options ?? {})) t.match(help, `--${option}`);
    t.match(overview(COMMANDS), command.name);
  }
});

t.test("every example can be parsed", async (t) => {
  for (const { name, examples } of COMMANDS)
    for (const example of examples) {
      const typed = /holdfast [^|>)]*/
        .exec(example)?.[0]
        ?.trim()
        .split(/\s+/)
        .slice(1)
        .filter((word, index, words) => word !== "<" && words[index - 1] !== "<");
      t.doesNotThrow(() => parseWords(typed ?? [], COMMANDS, {}), `${name}: ${example}`);
    }
});

t.test("the commands that scripts rely on are there, with their arguments and options", async (t) => {
  const typed = [
    ...["daemon", "service install", "service uninstall", "service status", "run x.ts a", "demo", "doctor"],
    ...["cluster create cluster.yaml --as n1", "cluster token", "cluster join TOKEN --as n2", "cluster show"],
    ...["cluster state", "cluster apply cluster.yaml", "witness", "witness token"],
    ...["cluster witness add TOKEN", "cluster witness remove", "cluster witness show"],
    ...["module templates", "module new db --template mirror --set a.b=1 --set c=2"],
    ...["list", "path", "edit", "check", "test", "schema"].map((word) => `module ${word} db`),
    ...["list", "path", "check", "test", "schema"].map((word) => `module ${word}`),
    ...["module apply db --from dir --dry-run", "module history db", "module diff db", "module rollback db"],
    ...["module upgrade db", "module export db", "module import db.hf", "module remove db"],
    ...["secret set db key", "secret list db key", "secret remove db key"],
    ...[
      "prim db --force",
      "second db --full",
      "start db",
      "stop db",
      "restart db",
      "stopstart db",
      "swap db",
    ],
    ...["forcestop db", "shutdown", "boot db always", "maintenance db on", "status db --watch", "status"],
    ...["wait db PRIM,ALONE --timeout 30s", "log db -f", "log", "resources db", "get db tcp.db"],
    ...["set db custom.x down", "checker db off tcp.db", "verify db", "farm db", "drain db"],
    ...["explain db --at 14:05", "explain --snapshot file", "snapshot out", "completion bash", "--version"],
  ];
  for (const words of typed)
    t.doesNotThrow(() => parseWords([...words.split(" "), "--json", "--var", "/v"], COMMANDS, {}), words);
});

t.test("a command of this machine alone says so", async (t) => {
  t.match(refusal(["doctor", "--node", "n2"]), /^--node: holdfast doctor runs on this machine only/);
  t.match(refusal(["snapshot", "x", "--all"]), /^--all: holdfast snapshot runs on this machine only/);
});

t.test("no two commands have the same name", async (t) => {
  const names = COMMANDS.map((command: Command) => command.name);
  t.equal(new Set(names).size, names.length);
});

t.test("completion offers commands, arguments and options", async (t) => {
  t.ok(candidates(["st"], COMMANDS, "/nowhere").includes("status"));
  t.strictSame(candidates(["cluster", "jo"], COMMANDS, "/nowhere"), ["join"]);
  t.strictSame(candidates(["boot", "db", "n"], COMMANDS, "/nowhere"), ["never"]);
  t.ok(candidates(["prim", "db", "--f"], COMMANDS, "/nowhere").includes("--force"));
  for (const shell of SHELLS) t.match(completionScript(shell), "holdfast __complete");
  const varDir = t.testdir({
    modules: { db: { "module.yaml": "kind: mirror\nsecrets: [password, tls_key]\n" } },
  });
  t.strictSame(candidates(["secret", "set", "d"], COMMANDS, varDir), ["db"]);
  t.strictSame(candidates(["secret", "set", "db", ""], COMMANDS, varDir), ["password", "tls_key"]);
  t.strictSame(candidates(["secret", "remove", "db", "p"], COMMANDS, varDir), ["password"]);
  t.strictSame(candidates(["secret", "set", "none", ""], COMMANDS, varDir), []);
  t.strictSame(candidates(["module", "new", "x", "--template", "post"], COMMANDS, varDir), ["postgresql"]);
  t.strictSame(candidates(["module", "apply", "-m", "why", ""], COMMANDS, varDir), ["db"]);
  t.strictSame(candidates(["module", "new", "x", "--set", ""], COMMANDS, varDir), []);
});

t.test("the commands reference of docs/ is the table's", async (t) => {
  const page = await Bun.file(new URL("../../docs/commands.md", import.meta.url)).text();
  t.equal(page, referencePage(COMMANDS), "made again by: bun core/cli/reference.ts");
});

t.test("columns are aligned by what is visible", async (t) => {
  t.equal(
    columns([
      ["a", "b"],
      ["\x1b[31mlong\x1b[0m", "c"],
    ]),
    "a     b\n\x1b[31mlong\x1b[0m  c",
  );
  t.equal(durationText(85), "85 ms");
  t.equal(durationText(4200), "4.2 s");
  t.equal(durationText(185_000), "3 min 5 s");
});
