/** What a module's author is told before it is used, and what an editor needs to know. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import t from "tap";
import * as sdk from "../../hooks/sdk/mod.ts";
import { checkModule, writeEditorFiles } from "../../modules/mod.ts";
import { TEMPLATES } from "../../templates/catalog.ts";

const root = mkdtempSync(join(tmpdir(), `holdfast-check-${process.pid}-`));
t.teardown(() => rmSync(root, { recursive: true }));

const yaml = "kind: mirror\nreplicate: { paths: [{ path: /srv/a }] }\n";
const hook = `export default async () => { console.log("hook"); };\n`;

function source(name: string, files: Record<string, string>): string {
  const directory = join(root, name);
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), content);
  }
  return directory;
}

t.test("check warns of what will hurt, and refuses what does not work yet", async (t) => {
  const from = source("a directory with any name", {
    "module.yaml": yaml,
    "hooks/start_prim.ts": "export default async () => {\n  await Bun.sleep(1);\n  process.exit(0);\n};\n",
    "hooks/stop_second.ts": "export default async () => {}",
  });
  const { errors, warnings } = checkModule(from);
  t.same(errors, []);
  t.same(warnings, [
    "hooks/start_prim.ts:1:1: there is no stop_prim hook: what start_prim starts is killed at each stop and swap",
    "hooks/start_prim.ts:2:9: uses Bun directly: the runtime may change under it; use holdfast, node: or Deno",
    "hooks/start_prim.ts:3:3: ends with success at once: what follows is not run, and a failure is not seen",
    "hooks/stop_second.ts:1:1: there is no start_second hook: nothing starts what stop_second stops",
    "hooks/stop_second.ts:1:1: does nothing",
  ]);
  const later: [string, string][] = [
    ["services", "services: [postgresql]"],
    ["secrets", "secrets: [password]"],
    ["processes", "processes: { a: { regex: x } }"],
    ["rules", "rules: { a: { if: x == down, then: swap } }"],
    ["checkers", "checkers: { ping: { g: { address: 10.0.0.1 } } }"],
  ];
  for (const [key, line] of later)
    t.match(checkModule(source(`later-${key}`, { "module.yaml": `${yaml}${line}\n` })).errors, [
      new RegExp(`^module\\.yaml:3:\\d+: ${key}: .* not supported by this version: remove ${key}$`),
    ]);
  t.match(checkModule(source("later-config", { "module.yaml": yaml, "hooks/config.ts": hook })).errors, [
    /^hooks\/config\.ts:1:1: config hooks are not called by this version/,
  ]);
  for (const kind of ["farm", "light"])
    t.match(checkModule(source(`later-${kind}`, { "module.yaml": `kind: ${kind}\n` })).errors, [
      /kind: modules of kind \w+ are not supported by this version/,
    ]);
});

t.test("the SDK's types name exactly what the SDK exports", async (t) => {
  const directory = source("editor", { "module.yaml": yaml });
  writeEditorFiles(directory);
  const types = readFileSync(join(directory, ".holdfast/mod.ts"), "utf8");
  const declared = [...types.matchAll(/^export declare (?:function|const|class) (\S+?)[<(: ]/gm)].map(
    ([, name]) => name!,
  );
  t.same(new Set(declared), new Set([...Object.keys(sdk), "Command"]));
  t.same(JSON.parse(readFileSync(join(directory, "deno.json"), "utf8")).imports, {
    holdfast: "./.holdfast/mod.ts",
  });
  t.ok(statSync(join(directory, "tsconfig.json")).isFile());
  t.same(checkModule(directory).errors, []);
});

t.test("every template, as it is cloned, passes check without a warning", async (t) => {
  for (const template of TEMPLATES) {
    const directory = source(`template-${template.name}`, { ...template.files });
    writeEditorFiles(directory);
    const { errors, warnings } = checkModule(directory);
    t.same([...errors, ...warnings], [], template.name);
  }
});
