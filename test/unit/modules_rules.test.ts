/** rules.ts: what it comes to, what it may not do, where its faults are, and what an editor knows of it. */
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import t from "tap";
import ts from "typescript";
import { watchedOf } from "../../core/checks/module_checks.ts";
import { landlockAbi } from "../../core/platform/linux/landlock.ts";
import { commitDirectory, layDown, planChange, Repository } from "../../modules/history/history.ts";
import { examineModule, readModule, writeEditorFiles } from "../../modules/mod.ts";
import { makeRules } from "../../modules/rules_file.ts";
import { scratch, writeFiles } from "../fixtures/scratch.ts";

const root = scratch("rules");

const YAML = `kind: mirror
checkers:
  ping: { gateway: { address: 10.0.0.254 } }
  tcp: { db: { address: "127.0.0.1:5432" }, web: { address: "127.0.0.1:80" } }
`;
const RULES = `import { defineRules, type Rule } from "holdfast";
import words from "./module.yaml" with { type: "text" };

const each = [...words.matchAll(/(\\w+): \\{ address: "/g)].map(([, name = ""]): [string, Rule] => [
  \`no_\${name}\`,
  { if: { any: [\`tcp.\${name} == down\`, \`tcp.\${name} == unknown\`] }, then: "stopstart" },
]);

export default defineRules({
  ...Object.fromEntries(each),
  no_gateway: {
    if: { all: ["ping.gateway == down", "remote.ping.gateway == up", { not: "tcp.* == up" }] },
    then: "swap",
  },
  plain: { if: { all: ["tcp.db == down && tcp.web == down"] }, then: "stop" },
});
`;

const source = (files: Record<string, string>) => writeFiles(mkdtempSync(join(root, "module-")), files);

const module = (rules: string, yaml = YAML) => source({ "module.yaml": yaml, "rules.ts": rules });
const errorsOf = async (rules: string, yaml?: string) =>
  (await examineModule(module(rules, yaml), null, false)).errors;

t.test("rules.ts comes to the data that module.yaml would have", async (t) => {
  const directory = module(RULES, `${YAML}rules: { own: { if: "tcp.db == down", then: wait } }\n`);
  t.same((await examineModule(directory, null, true)).errors, []);
  const { definition } = readModule(directory, null, "db");
  const told = Object.entries(definition!.config.rules).map(([name, rule]) => [name, rule.if, rule.then]);
  t.strictSame(told, [
    ["own", "tcp.db == down", "wait"],
    ["no_db", "(tcp.db == down) || (tcp.db == unknown)", "stopstart"],
    ["no_web", "(tcp.web == down) || (tcp.web == unknown)", "stopstart"],
    ["no_gateway", "(ping.gateway == down) && (remote.ping.gateway == up) && (!(tcp.* == up))", "swap"],
    ["plain", "tcp.db == down && tcp.web == down", "stop"],
  ]);
  const names = watchedOf(definition!.config, new Map()).rules.map(({ name }) => name);
  t.same(names.slice(0, 5), ["own", "no_db", "no_web", "no_gateway", "plain"], "the core has them");
});

t.test("what is wrong with it is told with its place", async (t) => {
  const rules = (text: string) =>
    errorsOf(`import { defineRules } from "holdfast";\nexport default defineRules({\n${text}\n});\n`);
  t.match(await rules('  a: { if: "tcp.dv == down", then: "swap" },'), [
    /^rules\.ts:3:3: rules\.a\.if: nothing sets tcp\.dv: did you mean tcp\.db\?$/,
  ]);
  t.match(await rules('  "a": { if: "tcp.db = down", then: "swap" },'), [
    /^rules\.ts:3:3: rules\.a\.if: at character \d+/,
  ]);
  t.match(await rules('  a: { if: "tcp.db == down", then: "swp" },'), [
    /^rules\.ts:3:3: rules\.a\.then: .*did you mean swap\?$/,
  ]);
  t.match(await rules("  a: { if: { any: [] }, then: 'swap' },"), [
    /^rules\.ts:2:\d+: a rule asks about nothing/,
  ]);
  t.match(await errorsOf("export default null;"), [/^rules\.ts:1:1: rules: expected a mapping/]);
  t.match(await errorsOf("export const rules = {};"), [/^rules\.ts:1:1: has no default export/]);
  t.match(await errorsOf("\n  throw new Error('not today');"), [/^rules\.ts:2:\d+: not today$/]);
  t.match(await errorsOf("export default {"), [/^rules\.ts:1:\d+: /]);
  t.match(await errorsOf("export default {};\nimport 'npm:left-pad';"), [
    /^rules\.ts:\d+:\d+: .*npm:left-pad/,
  ]);
  const own = `${YAML}rules: { a: { if: "tcp.db == down", then: wait } }\n`;
  t.match(await errorsOf('export default {\n  a: { if: "tcp.db == down", then: "swap" } };', own), [
    /^rules\.ts:2:3: rules\.a: module\.yaml has a rule of that name too$/,
  ]);
  const begun = performance.now();
  t.match(await makeRules(module("await new Promise(() => setInterval(() => 0, 1000));"), 1000), [
    { message: "has not ended after 1 s" },
  ]);
  t.ok(performance.now() - begun < 20_000);
});

t.test(
  "it may read the module, and nothing else",
  { skip: landlockAbi() === 0 ? "NOT TRIED: this kernel has no Landlock" : false },
  async (t) => {
    const server = createServer().listen(0, "127.0.0.1");
    t.teardown(() => server.close());
    const { port } = server.address() as { port: number };
    const outside = join(root, "outside");
    for (const attempt of [
      `await Deno.readTextFile(${JSON.stringify(outside)})`,
      `await Deno.writeTextFile("made", "")`,
      `await Deno.connect({ hostname: "127.0.0.1", port: ${port} })`,
      `await new Deno.Command("/bin/true").output()`,
    ]) {
      writeFileSync(outside, "");
      const directory = module(`${attempt};\nexport default {};`);
      t.match(await makeRules(directory), [{ line: 1, message: /denied|EACCES/i }], attempt);
      t.notOk(existsSync(join(directory, "made")) || existsSync(join(directory, "rules.json")));
    }
    t.same(
      await makeRules(
        module('if (Deno.env.get("HOME")) throw new Error("it sees the environment");\nexport default {};'),
      ),
      [],
    );
  },
);

t.test(
  "a revision holds what it came to: nodes run no code, and a change is said rule by rule",
  async (t) => {
    const directory = module(RULES);
    const repository = await Repository.make(join(root, "repository"));
    const author = { name: "a", email: "a@example.com" };
    const varDir = join(root, "var");
    const bare = await commitDirectory(repository, directory, null, "Without", author);
    await t.rejects(
      layDown(repository, varDir, "db", bare.commit, null),
      /rules\.ts:1:1: there is no rules\.json/,
    );
    await examineModule(directory, null, false);
    const whole = await commitDirectory(repository, directory, bare.commit, "With", author);
    // What a node has of the code does not count: only the data does.
    const { config, directory: laid } = await layDown(repository, varDir, "db", whole.commit, null);
    t.equal(config.rules["no_db"]!.then, "stopstart");
    t.equal(
      readFileSync(join(laid, "rules.json"), "utf8"),
      readFileSync(join(directory, "rules.json"), "utf8"),
    );
    const contents = (then: "swap" | "stop") => {
      const rules = { ...config.rules, no_db: { ...config.rules["no_db"]!, then } };
      return { config: { ...config, rules }, yaml: YAML, rules, files: new Map() };
    };
    t.match(planChange(contents("swap"), contents("stop")), [
      { how: "live", words: 'rules.no_db.then: "swap" -> "stop": counts at once' },
    ]);
  },
);

t.test("an editor proposes the module's resources and the actions", async (t) => {
  const text = `import { defineRules } from "holdfast";\nexport default defineRules({ a: { if: "|", then: "|" } });\n`;
  const directory = module(text);
  await writeEditorFiles(directory);
  const file = join(directory, "rules.ts");
  const { config } = ts.readConfigFile(join(directory, "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, directory);
  const service = ts.createLanguageService({
    getCompilationSettings: () => options,
    getScriptFileNames: () => [file],
    getScriptVersion: () => "1",
    getScriptSnapshot: (path) =>
      existsSync(path)
        ? ts.ScriptSnapshot.fromString(readFileSync(path, "utf8").replaceAll("|", path === file ? "" : "|"))
        : undefined,
    getCurrentDirectory: () => directory,
    getDefaultLibFileName: ts.getDefaultLibFilePath,
    fileExists: ts.sys.fileExists,
    readFile: ts.sys.readFile,
    directoryExists: ts.sys.directoryExists,
    getDirectories: ts.sys.getDirectories,
  });
  const first = text.indexOf("|");
  const proposed = (at: number) =>
    service.getCompletionsAtPosition(file, at, {})?.entries.map(({ name }) => name) ?? [];
  const conditions = proposed(first);
  for (const wanted of ["tcp.db == down", "remote.ping.gateway != up", "tcp.? == unknown"])
    t.ok(conditions.includes(wanted), `${wanted} is proposed`);
  t.notOk(conditions.some((name) => name.includes("tcp.dv")));
  t.same(proposed(text.lastIndexOf("|") - 1).sort(), ["restart", "stop", "stopstart", "swap", "wait"]);
});
