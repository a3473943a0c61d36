/**
 * Scripts in the compiled binary: nothing in the current directory or the environment may run code in it, and what works from
 * source works there too. Skipped when there is no binary (`npm run build`).
 */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";
import type * as v from "valibot";
import { selfCommand } from "../../core/platform/self.ts";
import { contextVariables, type hookOrderSchema } from "../../hooks/context.ts";
import { hookEnvironment } from "../../hooks/environment.ts";
import { hookCall } from "../fixtures/hook_call.ts";
import { binary, noBinary, scratch, writeFiles } from "../fixtures/scratch.ts";

const directory = scratch("binary");

async function output(command: readonly string[], env: Record<string, string>, input = "", cwd = directory) {
  const child = Bun.spawn([...command], {
    cwd,
    env,
    stdin: Buffer.from(input),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { stdout, stderr, code: await child.exited };
}

/** Everything that a runtime might read from where it is started. */
const trap = `import { writeFileSync } from "node:fs"; writeFileSync(${JSON.stringify(join(directory, "trapped"))}, "1");`;
writeFiles(directory, {
  "bunfig.toml": `preload = ["./trap.ts"]\n[run]\npreload = ["./trap.ts"]\n`,
  ".env": "TRAPPED=1\nNODE_OPTIONS=--require=./trap.ts\n",
  ".env.local": "TRAPPED=1\n",
  "trap.ts": trap,
  "script.ts": `interface A { b: string }\nconsole.log(import.meta.main, Deno.args.join(), process.env["TRAPPED"] ?? "clean");\nconst a: A = { b: "x" };\nif (a.b === "y") throw new Error();\nDeno.exit(Number(Deno.args[0]));\n`,
  "deno.json": `{"imports":{"@lib/":"./lib/"}}`,
  "lib/x.ts": "export const x: number = 5;\n",
  "node_modules/vendored/package.json": `{"name":"vendored","main":"main.js"}`,
  "node_modules/vendored/main.js": "exports.three = 3;",
  "hooks/start_prim.ts": `import { $, defineHook } from "holdfast";\nimport { x } from "@lib/x.ts";\nimport { three } from "vendored";\nexport default defineHook(async ({ module, vars }) => {\n  console.log(module, vars["port"], x, three, (await $\`echo \${"a b"}\`.text()));\n  if (vars["port"] === "1") throw new Error("no");\n  if (vars["port"] === "2") await $\`false\`;\n});\n`,
});

t.test(
  "trap 36: bunfig.toml, .env and the environment run nothing in the binary",
  { skip: noBinary },
  async (t) => {
    const hostile = {
      PATH: "/usr/bin:/bin",
      BUN_OPTIONS: `--preload ${join(directory, "trap.ts")}`,
      BUN_BE_BUN: "1",
      BUN_INSPECT_PRELOAD: join(directory, "trap.ts"),
      NODE_OPTIONS: `--require ${join(directory, "trap.ts")}`,
    };
    const { stdout, stderr, code } = await output([binary, "run", "script.ts", "7", "--x"], hostile);
    t.equal(stdout, "true 7,--x clean\n", stderr);
    t.equal(code, 7);
    t.notOk(existsSync(join(directory, "trapped")));
  },
);

const TOOLS = `import { $, retry } from "holdfast";\nimport { parse } from "@std/yaml";\nconsole.log(typeof $, typeof retry, parse("a: [1]").a[0]);\nconst name = "holdfast";\nconsole.log((await import(name)).$ === $);\n`;

t.test("from source, too, a script has the SDK and @std/yaml", async (t) => {
  const file = join(writeFiles(scratch("source"), { "tools.ts": TOOLS }), "tools.ts");
  const { code, stdout, stderr } = await output([...selfCommand("run"), file], {}, "", dirname(file));
  t.match({ code, stdout }, { code: 0, stdout: "function function 1\ntrue\n" }, stderr);
});

t.test(
  "a script anywhere has the SDK and @std/yaml, and its errors name its own lines and columns",
  { skip: noBinary },
  async (t) => {
    writeFiles(directory, {
      "elsewhere/tools.ts": TOOLS,
      "elsewhere/main.ts": `const one: number = 1; if (import.meta.main) throw new Error("here");\n`,
      "elsewhere/hooks.ts": `import { x } from "@lib/x.ts"; const broken = = x;\n`,
      "elsewhere/waits.ts": `console.log("begins");\nawait new Promise(() => {});\n`,
    });
    const good = await output([binary, "run", "elsewhere/tools.ts"], {});
    t.match(good, { code: 0, stdout: "function function 1\ntrue\n" }, good.stderr);
    const thrown = await output([binary, "run", "elsewhere/main.ts"], {});
    t.match(thrown.stderr, /^error: here\n.*elsewhere\/main\.ts:1:56\)?\n/);
    const syntax = await output([binary, "run", "elsewhere/hooks.ts"], {});
    t.match(syntax.stderr, /elsewhere\/hooks\.ts:1:47: /);
    const waits = await output([binary, "run", "elsewhere/waits.ts"], {});
    t.match(waits, {
      code: 1,
      stdout: "begins\n",
      stderr: /waits\.ts ended while it still waited for something/,
    });
  },
);

function order(port: string): string {
  const context = hookCall(directory, { vars: { port } });
  const value: v.InferInput<typeof hookOrderSchema> = {
    file: join(directory, "hooks/start_prim.ts"),
    kind: "typescript",
    context,
    timeoutMs: 10_000,
    cgroup: null,
  };
  t.ok(contextVariables(context)["HOLDFAST_VAR_port"] === port);
  return JSON.stringify(value);
}

t.test(
  "a hook with the SDK, an import map and a vendored package runs in the binary",
  { skip: noBinary },
  async (t) => {
    const good = await output([binary, "__hook"], hookEnvironment({}), order("5432"));
    t.match(good, { code: 0, stdout: "db 5432 5 3 a b\n" }, good.stderr);
    const bad = await output([binary, "__hook"], hookEnvironment({}), order("1"));
    t.equal(bad.code, 1);
    t.match(bad.stderr, /^error: no\n.*start_prim\.ts:6:\d+/);
    const frames = bad.stderr.split("\n").filter((line) => /^\s+at /.test(line));
    t.ok(
      frames.every((line) => line.includes(directory)),
      `frames of the script alone:\n${bad.stderr}`,
    );
    t.notMatch((await output([binary, "__hook"], hookEnvironment({}), order("2"))).stderr, /^\s+at .*sdk/m);
    const none = await output([binary, "__hook"], hookEnvironment({}), "not an order");
    t.equal(none.code, 1);
    t.notOk(existsSync(join(directory, "trapped")));
  },
);
