/** `holdfast module test`: what passes and what fails is told, and a file that hangs, dies or tests nothing has failed. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { TEMPLATES } from "../../templates/catalog.ts";
import { binary, deno, noBinary, scratch, writeFiles } from "../fixtures/scratch.ts";

const work = scratch("own-tests");
const moduleOf = (name: string, files: Readonly<Record<string, string>>) =>
  writeFiles(join(work, name), files);

function moduleTest(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(
    binary,
    ["--var", join(work, "var"), "module", "test", ...args],
    {
      encoding: "utf8",
      timeout: 60_000,
    },
  );
  return { status, stdout, stderr };
}

interface Told {
  passed: number;
  failed: number;
  ignored: number;
  files: { file: string; output: string; results: { name: string; status: string; error: string }[] }[];
}

t.test("the tests of every template pass", { skip: noBinary }, async (t) => {
  for (const { name, files } of TEMPLATES) {
    const { status, stdout } = moduleTest(moduleOf(`template/${name}`, files), "--json");
    const told = JSON.parse(stdout) as Told;
    t.match({ status, ...told }, { status: 0, failed: 0, ignored: 0 }, name);
    t.ok(told.passed > 0, `${name} has tests`);
  }
});

const HOOK = `import { $, defineHook, log, secret, service, waitFor } from "holdfast";
export default defineHook(async ({ vars, force, from, peers }) => {
  await service("app").start();
  const text = await $\`status \${"a b"}\`.text();
  if ((await $\`probe\`.nothrow()).exitCode !== 0) await $\`repair\`.input("now");
  await waitFor.tcp(Number(vars.port));
  log(text, secret("key"), force, from, peers[0]?.name);
});
`;
const CHECKER = `import { $, defineChecker } from "holdfast";
export default defineChecker(async ({ vars }) => {
  if (vars.broken) throw new Error("no connection");
  return (await $\`ask\`.text()) === "good" || { state: "down", detail: "bad" };
});
`;

t.test(
  "a made-up node answers hooks and checkers, and keeps what they did",
  { skip: noBinary },
  async (t) => {
    const directory = moduleOf("node", {
      "hooks/start_prim.ts": HOOK,
      "checkers/orders.ts": CHECKER,
      "node.test.ts": `import { assertEquals, assertMatch, assertRejects, FakeNode } from "holdfast/testing";
import start from "./hooks/start_prim.ts";
import orders from "./checkers/orders.ts";
const commands = { "status 'a b'": "fine\\n", probe: { exitCode: 1, stderr: "no" }, repair: (_: string, input: string) => input };
const vars = { port: "5432" };
const secrets = { key: "hush" };
Deno.test("all of it", async (t) => {
  const node = new FakeNode({ commands, vars, secrets });
  await node.run(start, { force: true });
  assertEquals(node.commands, ["status 'a b'", "probe", "repair"]);
  assertEquals(node.services, { app: "active" });
  assertEquals(node.waits, ["127.0.0.1:5432"]);
  assertEquals(node.logged, ["now", "fine hush true WAIT n2"]);
  await t.step("absent", async () => {
    const down = new FakeNode({ commands, vars, secrets, absent: ["127.0.0.1:5432"] });
    await assertRejects(() => down.run(start), /waited 60s for 127.0.0.1:5432/);
  });
  await t.step("no secret", () => assertRejects(() => new FakeNode({ commands, vars }).run(start), /secret set/));
  await t.step("no answer, though nothing throws", () =>
    assertRejects(() => new FakeNode({ commands: { "status *": "" } }).run(start), /no answer for the command: probe/));
});
Deno.test("checkers", async () => {
  assertEquals(await new FakeNode({ commands: { ask: "good" } }).check(orders), { state: "up", detail: "" });
  assertEquals(await new FakeNode({ commands: { ask: "bad" } }).check(orders), { state: "down", detail: "bad" });
  assertEquals(await new FakeNode({ vars: { broken: "1" } }).check(orders), { state: "down", detail: "no connection" });
  assertMatch((await assertRejects(() => new FakeNode().check(orders))).message, /no answer/);
});
`,
    });
    const { status, stdout, stderr } = moduleTest(directory);
    t.match({ status, stdout, stderr }, { status: 0, stdout: /2 passed, 0 failed/ });
    writeFileSync(
      join(directory, "deno.json"),
      `{"imports":{"holdfast":"./.holdfast/mod.ts","holdfast/testing":"./.holdfast/testing.ts"}}`,
    );
    const theirs = spawnSync(deno, ["test", "-A", "--no-check", "--quiet"], {
      cwd: directory,
      encoding: "utf8",
      env: { ...process.env, DENO_DIR: join(work, "deno"), DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" },
    });
    t.match(theirs, { status: 0, stdout: /2 passed \(3 steps\)/ }, "under Deno too");
  },
);

t.test("whatever fails is told, with its place", { skip: noBinary }, async (t) => {
  const directory = moduleOf("failing", {
    "a.test.ts": `import { assertEquals } from "holdfast/testing";
Deno.test("wrong", () => {
  console.log("printed by it");
  assertEquals(1 + 1, 3);
});
Deno.test("right", () => {});
Deno.test.ignore("left out", () => { throw new Error("never"); });
Deno.test({ name: "slow", timeout: 20, fn: () => new Promise((done) => setTimeout(done, 5000)) });
Deno.test("step", async (t) => { await t.step("inner", () => { throw new Error("in the step"); }); });
`,
    "lib/b.test.ts": "Deno.test('hangs', () => new Promise((done) => setTimeout(done, 60_000)));\n",
    "c.test.ts": "Deno.test('leaves', () => Deno.exit(0));\nDeno.test('never run', () => {});\n",
    "d.test.ts": "export {};\n",
    "e.test.ts": "Deno.test('broken', () => {\n  const = 1;\n});\n",
    "f.test.ts": "Deno.test('waits in vain', () => new Promise(() => undefined));\n",
    ".holdfast/no.test.ts": "Deno.test('not ours', () => {});\n",
  });
  const { status, stdout } = moduleTest(directory, "--json", "--timeout", "3s");
  const told = JSON.parse(stdout) as Told;
  t.equal(status, 1);
  t.match(told, { passed: 1, failed: 8, ignored: 1 });
  const errors = Object.fromEntries(
    told.files.flatMap(({ results }) => results.map((one) => [one.name, one.error])),
  );
  t.match(errors["wrong"], /a\.test\.ts:4:\d+/);
  t.match(errors["slow"], /time limit of 20 ms/);
  t.match(errors["step"], /step "inner": error: in the step/);
  t.match(errors["hangs"], /time limit of 3s and was killed/);
  t.match(errors["leaves"], /ended by itself with exit status 0/);
  t.match(errors["d.test.ts"], /registers no test/);
  t.match(errors["e.test.ts"], /e\.test\.ts:2:\d+/);
  t.match(errors["waits in vain"], /cannot happen any more/);
  t.match(told.files[0]?.output, /printed by it/);
  const tap = moduleTest(directory, "--tap", "--filter", "right", "--timeout", "3s");
  t.match(tap, { stdout: /^TAP version 14\n1\.\.\d+\nok 1 - a\.test\.ts: right$/m });
  t.match(moduleTest(directory, "--timeout", "soon"), { status: 2, stderr: /--timeout/ });
});
