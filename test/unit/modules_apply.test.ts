/** A module's files on their way to a node: bounded, all or nothing, and the old module stays until the new one is good. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import t from "tap";
import * as sdk from "../../hooks/sdk/mod.ts";
import {
  checkModule,
  loadModule,
  ModuleInvalid,
  packedRevision,
  packModule,
  unpackModule,
  writeEditorFiles,
} from "../../modules/mod.ts";
import { TEMPLATES } from "../../templates/catalog.ts";

const root = mkdtempSync(join(tmpdir(), `holdfast-apply-${process.pid}-`));
t.teardown(() => rmSync(root, { recursive: true }));

const yaml = "kind: mirror\nreplicate: { paths: [{ path: /srv/a }] }\n";
const hook = `export default async () => { console.log("hook"); };\n`;
const base64 = (text: string) => Buffer.from(text).toString("base64");

function source(name: string, files: Record<string, string>): string {
  const directory = join(root, name);
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), content);
  }
  return directory;
}

t.test("packed and unpacked, a module is the same: files, executables, revision", async (t) => {
  const from = source("whole", {
    "module.yaml": yaml,
    "hooks/start_prim.ts": hook,
    "hooks/stop_prim": "#!/bin/sh\nexit 0\n",
    "lib/deep/er/x.ts": "export const x = 1;\n",
    ".holdfast/mod.ts": "old",
    ".git/HEAD": "x",
  });
  chmodSync(join(from, "hooks/stop_prim"), 0o755);
  const packed = packModule(from);
  t.same(
    new Set(Object.keys(packed.files)),
    new Set(["hooks/start_prim.ts", "hooks/stop_prim", "lib/deep/er/x.ts", "module.yaml"]),
  );
  t.match(packed.revision, /^[0-9a-f]{64}$/);
  t.equal(packedRevision(packed.files), packed.revision);
  const target = join(root, "modules", "db");
  unpackModule(target, packed.files);
  const { hooks, name } = loadModule(target);
  t.equal(name, "db");
  t.match(hooks.get("stop_prim"), { kind: "executable" });
  t.equal(packModule(target).revision, packed.revision);
  t.ok(existsSync(join(target, ".holdfast/mod.ts")));
  t.same(readdirSync(join(root, "modules")), ["db"], "nothing is left beside it");

  const second = { ...packed.files, "module.yaml": base64(`${yaml}boot: never\n`) };
  unpackModule(target, second);
  t.equal(loadModule(target).config.boot, "never");
  t.not(packModule(target).revision, packed.revision);

  for (const bad of ["kind: mirrored\n", `${yaml}boot: sometimes\n`])
    t.throws(() => unpackModule(target, { ...packed.files, "module.yaml": base64(bad) }), ModuleInvalid);
  t.equal(loadModule(target).config.boot, "never", "the old module stays");
  t.same(readdirSync(join(root, "modules")), ["db"]);
});

t.test("hostile packs are refused whole", async (t) => {
  const target = join(root, "hostile", "db");
  const good = { "module.yaml": base64(yaml) };
  const hostile: Record<string, string>[] = [
    { "../evil": "" },
    { "/etc/evil": "" },
    { "a/../../evil": "" },
    { "a//b": "" },
    { "./a": "" },
    { "a/.": "" },
    { "": "" },
    { "a\0b": "" },
    { "a\\b": "" },
    { "a\nb": "" },
    { [`${"d/".repeat(300)}x`]: "" },
    { ["x".repeat(256)]: "" },
    { ".git/hooks/post-commit": "" },
    { ".holdfast/mod.ts": "" },
    { "lib/x": "not base64!" },
    { "lib/x": "YQ" },
    { lib: "YQ==", "lib/x": "YQ==" },
    { big: base64("x".repeat(33 * 1024 * 1024)) },
    Object.fromEntries(Array.from({ length: 5001 }, (_, i) => [`f${i}`, ""])),
  ];
  for (const files of hostile) {
    t.throws(
      () => unpackModule(target, { ...good, ...files }),
      ModuleInvalid,
      Object.keys(files)[0]!.slice(0, 40),
    );
    t.notOk(existsSync(target));
  }
  t.throws(() => unpackModule(target, {}), { message: /there is no .*module\.yaml/ });
  t.throws(() => unpackModule(join(root, "hostile", "a b"), good), { message: /cannot be a module's name/ });
  t.same(readdirSync(join(root, "hostile")), []);
  t.notOk(existsSync(join(root, "evil")));
});

t.test("links, special files and too much are refused when packing", async (t) => {
  const linked = source("linked", { "module.yaml": yaml });
  symlinkSync("/etc/shadow", join(linked, "secret"));
  t.throws(() => packModule(linked), { message: /^secret:1:1: is a symbolic link/ });
  const big = source("big", { "module.yaml": yaml, "lib/data": "x".repeat(33 * 1024 * 1024) });
  t.throws(() => packModule(big), { message: /larger than 32 MiB/ });
  const vendored = source("vendored", { "module.yaml": yaml, "node_modules/p/i.js": "1" });
  mkdirSync(join(vendored, "node_modules/.bin"));
  symlinkSync("../p/i.js", join(vendored, "node_modules/.bin/p"));
  t.same(new Set(Object.keys(packModule(vendored).files)), new Set(["module.yaml", "node_modules/p/i.js"]));
  const strange = source("strange", { "module.yaml": yaml, "hooks/start_prim": "echo hello\n" });
  chmodSync(join(strange, "hooks/start_prim"), 0o755);
  t.match(checkModule(strange).errors, [/^hooks\/start_prim:1:1: has no first line such as #!\/bin\/sh/]);
});

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
