/** Modules as typed, without a daemon: made from any template, upgraded, written to a file and read from one. */
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import { selfCommand } from "../../core/platform/self.ts";

t.setTimeout(120_000);

const scratch = mkdtempSync("/tmp/holdfast-cli-modules-");
const varDir = join(scratch, "var");
t.teardown(() => rmSync(scratch, { recursive: true }));

async function type(...words: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  const child = Bun.spawn([...selfCommand("module", ...words), "--var", varDir], {
    stdout: "pipe",
    stderr: "pipe",
    cwd: scratch,
  });
  const [stdout, stderr, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { status, stdout, stderr };
}

const at = (...path: string[]): string => join(varDir, "modules", ...path);
const yaml = `kind: mirror
timeouts:
  start: 5m
replicate:
  paths:
    - path: /srv/a
boot: auto
`;

t.test("made from a folder, edited, upgraded: merged, and in conflict as git shows it", async (t) => {
  const template = join(scratch, "wiki");
  mkdirSync(template);
  writeFileSync(join(template, "module.yaml"), yaml);
  t.equal((await type("new", "wiki", "--template", "./wiki", "--set", "failback=n1")).status, 0);
  t.match(readFileSync(at("wiki", "module.yaml"), "utf8"), /failback: n1/s);
  t.match(JSON.parse((await type("upgrade", "wiki", "--template", "./wiki", "--json")).stdout), {
    status: 0,
    data: { how: ["already"] },
  });
  writeFileSync(join(template, "module.yaml"), yaml.replace("5m", "9m"));
  const merged = await type("upgrade", "wiki");
  t.match(merged, { status: 0, stdout: /template .*wiki is merged into/ });
  t.match(readFileSync(at("wiki", "module.yaml"), "utf8"), /start: 9m.*failback: n1/s);

  writeFileSync(join(template, "module.yaml"), yaml.replace("5m", "10m"));
  writeFileSync(
    at("wiki", "module.yaml"),
    readFileSync(at("wiki", "module.yaml"), "utf8").replace("9m", "8m"),
  );
  const clash = await type("upgrade", "wiki");
  t.match(clash, { status: 4, stdout: /solve the conflicts .*\n {2}module\.yaml/ });
  t.match(readFileSync(at("wiki", "module.yaml"), "utf8"), /<{7}.*8m.*={7}.*10m.*>{7}/s);
  t.match(await type("check", "wiki"), { status: 2, stderr: /module\.yaml:\d+:\d+: not valid YAML/ });
});

t.test("what is no module, or cannot be had, is refused and leaves nothing", async (t) => {
  mkdirSync(join(scratch, "empty"));
  for (const [template, status, said] of [
    ["./empty", 2, /holds no module\.yaml/],
    ["./nowhere", 1, /is no directory/],
    ["postgres", 2, /did you mean "postgresql"/],
    ["http://127.0.0.1:1/x.git", 1, /cannot be cloned/],
  ] as const) {
    t.match(await type("new", "refused", "--template", template), { status, stderr: said });
    t.notOk(existsSync(at("refused")));
  }
});

t.test("exported, read by plain git, imported", async (t) => {
  t.equal((await type("new", "db", "--template", "postgresql")).status, 0);
  t.match(await type("history", "db"), { status: 0, stdout: /Template postgresql/ });
  t.match(await type("diff", "db"), { status: 2, stderr: /never applied/ });
  t.match(await type("export", "db", "db.hf"), { status: 0, stdout: /holdfast module import db\.hf/ });
  if (Bun.which("git")) {
    const clone = spawnSync("git", ["clone", "-q", "db.hf", "cloned"], { cwd: scratch, encoding: "utf8" });
    t.equal(clone.status, 0, clone.stderr);
    t.ok(existsSync(join(scratch, "cloned/module.yaml")));
  }
  t.match(await type("import", "db.hf"), { status: 2, stderr: /is there already/ });
  t.match(await type("import", "db.hf", "--as", "db2"), { status: 0 });
  t.same(
    readdirSync(at("db2")).filter((name) => name !== "deno.json" && name !== "tsconfig.json"),
    readdirSync(at("db")).filter((name) => name !== "deno.json" && name !== "tsconfig.json"),
  );
  t.match(await type("upgrade", "db2"), { status: 0, stdout: /is in db2 already/ });
  const bytes = readFileSync(join(scratch, "db.hf"));
  bytes[bytes.length - 100] = bytes[bytes.length - 100]! ^ 1;
  writeFileSync(join(scratch, "bad.hf"), bytes);
  t.match(await type("import", "bad.hf"), { status: 2, stderr: /bad\.hf cannot be imported: it is damaged/ });
  writeFileSync(join(scratch, "none.hf"), "hello");
  t.match(await type("import", "none.hf"), { status: 2, stderr: /it is no git bundle/ });
  t.notOk(existsSync(at("bad")) || existsSync(at("none")), "nothing is left");
});
