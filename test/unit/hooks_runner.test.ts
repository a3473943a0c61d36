/**
 * Hooks as the daemon runs them: real child processes, real signals, real cgroups where this machine has them.
 */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { setPriority, tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import type { HookCall } from "../../hooks/context.ts";
import { stopFollowing } from "../../hooks/output.ts";
import { type HookResult, type HookRun, runHook } from "../../hooks/runner.ts";
import { hookCall } from "../fixtures/hook_call.ts";

const directory = realpathSync(mkdtempSync(join(tmpdir(), `holdfast-hooks-${process.pid}-`)));
const outputFile = join(directory, "output");
t.teardown(() => {
  stopFollowing(outputFile);
  rmSync(directory, { recursive: true });
});

function call(changes: Partial<HookCall> = {}): HookCall {
  const peers = [{ name: "n2", addresses: { lan: "10.77.0.2" } }];
  return hookCall(directory, { vars: { port: "5432" }, peers, ...changes });
}

async function run(
  name: string,
  source: string,
  options: Partial<HookRun> = {},
): Promise<{ result: HookResult; lines: string[]; ms: number }> {
  const file = join(directory, name);
  mkdirSync(join(file, ".."), { recursive: true });
  writeFileSync(file, source);
  if (!name.endsWith(".ts")) chmodSync(file, 0o755);
  const lines: string[] = [];
  const started = performance.now();
  const kind = name.endsWith(".ts") ? "typescript" : "executable";
  const result = await runHook({
    file,
    kind,
    context: call(),
    timeoutMs: 20_000,
    outputFile,
    onOutput: (line) => lines.push(line),
    ...options,
  });
  return { result, lines, ms: performance.now() - started };
}

const alive = (pid: number) => {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
};
const numberIn = (file: string) => Number(readFileSync(join(directory, file), "utf8"));

t.test("a TypeScript hook gets its context and its output arrives line by line", async (t) => {
  const { result, lines } = await run(
    "context.ts",
    `import { $, defineHook, log } from "holdfast";
     export default defineHook(async ({ signal, ...context }) => {
       log("context", JSON.stringify(context));
       console.error("aborted", signal.aborted);
       await $\`echo \${"it's; here"} $HOLDFAST_VAR_port\`;
       process.stdout.write("no line end");
     });`,
  );
  t.match(result, { ok: true, exitCode: 0, timedOut: false });
  t.same(JSON.parse(lines[0]!.replace("context ", "")), call());
  t.same(lines.slice(1), ["aborted false", "it's; here 5432", "no line end"]);
});

t.test("an executable gets the same as variables, and the arguments from, to, action", async (t) => {
  const { result, lines } = await run(
    "stop_prim",
    `#!/bin/sh\necho "$@"\necho "$HOLDFAST_MODULE $HOLDFAST_NODE $HOLDFAST_FORCE $HOLDFAST_CAUSE"\nread x; echo "input <$x>"\nexit 3\n`,
    { context: call({ force: true, hook: "stop_prim" }) },
  );
  t.match(result, { ok: false, exitCode: 3, timedOut: false, detail: /stop_prim failed with exit status 3/ });
  t.same(lines, ["force WAIT ALONE start", "db n1 1 a test", "input <>"]);
});

t.test("an executable that is none says so", async (t) => {
  const { result, lines } = await run("broken", "#!/no/such/interpreter\n");
  t.match(result, { ok: false, exitCode: 1 });
  t.match(lines.join("\n"), /broken cannot be executed/);
});

t.test("a hook that throws fails, with file, line and column of the source", async (t) => {
  const { result, lines } = await run(
    "throws.ts",
    `interface A { b: number }\n\nexport default async (): Promise<A> => {\n  throw new Error("no such table");\n};\n`,
  );
  t.match(result, { ok: false, exitCode: 1 });
  t.equal(lines[0], "error: no such table");
  t.match(lines.join("\n"), /throws\.ts:4:\d+/);
  t.notMatch(lines.join("\n"), /child\.ts|runtime\.ts/);
});

t.test(
  "a forgotten await, a syntax error, a missing file and a hook that is no function all fail",
  async (t) => {
    const forgotten = await run(
      "forgot.ts",
      `export default async () => { void Promise.reject(new Error("lost")); await Bun.sleep(50); };`,
    );
    t.equal(forgotten.result.ok, false);
    t.match(forgotten.lines.join("\n"), /lost/);
    const syntax = await run("syntax.ts", "const a = 1;\nconst b: = 2;\n");
    t.equal(syntax.result.ok, false);
    t.match(syntax.lines.join("\n"), /syntax\.ts:2:10: Unexpected =/);
    const missing = await run("missing.ts", `import "./not_there.ts";`);
    t.equal(missing.result.ok, false);
    t.match(missing.lines.join("\n"), /not_there\.ts/);
    const constant = await run("constant.ts", "export default 5;");
    t.match(constant.lines.join("\n"), /default export is not a function/);
    const named = await run("named.ts", "export function start() {}");
    t.match(named.lines.join("\n"), /has no default export/);
  },
);

t.test(
  "a file without exports is a plain script: import.meta.main is true and its exit status counts",
  async (t) => {
    const { result, lines } = await run(
      "script.ts",
      `const x: number = 5;\nif (import.meta.main) console.log("main", x);\nsetTimeout(() => process.exit(7), 20);\n`,
    );
    t.match(result, { ok: false, exitCode: 7 });
    t.same(lines, ["main 5"]);
  },
);

t.test("the import map of deno.json, vendored packages and shared code work", async (t) => {
  mkdirSync(join(directory, "lib"), { recursive: true });
  mkdirSync(join(directory, "node_modules/vendored"), { recursive: true });
  writeFileSync(
    join(directory, "lib/one.ts"),
    `import { two } from "@lib/two.ts"; export const one = two - 1;`,
  );
  writeFileSync(
    join(directory, "lib/two.ts"),
    `export const two: number = 2; export { one } from "@lib/one.ts";`,
  );
  writeFileSync(
    join(directory, "node_modules/vendored/package.json"),
    `{"name":"vendored","main":"main.js"}`,
  );
  writeFileSync(join(directory, "node_modules/vendored/main.js"), `exports.three = 3;`);
  writeFileSync(join(directory, "deno.json"), `{"imports":{"@lib/":"./lib/","uno":"./lib/one.ts"}}`);
  const { result, lines } = await run(
    "hooks/imports.ts",
    `import { one } from "uno"; import { three } from "vendored"; import { two } from "../lib/two.ts";
     export default () => console.log(one, two, three);`,
  );
  t.match(result, { ok: true }, lines.join("\n"));
  t.same(lines, ["1 2 3"]);
  rmSync(join(directory, "deno.json"));
});

t.test(
  "trap 21: a hook that hangs is killed at its limit with all its children, however they hid",
  async (t) => {
    const { result, ms } = await run(
      "hangs.ts",
      `import { writeFileSync } from "node:fs";
     import { $ } from "holdfast";
     export default async () => {
       await $\`sleep 300 & echo -n $! > child\`;
       await $\`setsid sh -c 'echo -n $$ > own_session; exec sleep 300' > /dev/null 2>&1 &\`;
       await $\`setsid sh -c 'trap "" TERM; (sleep 300 & echo -n $! > orphan); exit 0'\`;
       while (true) await $\`sleep 300\`;
     };`,
      { timeoutMs: 1499.87 },
    );
    t.match(result, {
      ok: false,
      timedOut: true,
      exitCode: null,
      detail: /time limit of 1500ms and was killed/,
    });
    t.ok(ms < 3000, `returned after ${ms} ms`);
    for (const file of ["child", "own_session", "orphan"]) t.notOk(alive(numberIn(file)), `${file} is dead`);
  },
);

t.test("the signal in the context is aborted before the limit", async (t) => {
  const { result, lines } = await run(
    "signal.ts",
    `export default ({ signal }) => new Promise((resolve) => signal.addEventListener("abort", () => { console.log("late"); resolve(); }));
     setInterval(() => {}, 1000);`,
    { timeoutMs: 1500 },
  );
  t.match(result, { ok: true });
  t.same(lines, ["late"]);
});

t.test("a cancelled hook is killed", async (t) => {
  const cancel = new AbortController();
  setTimeout(() => cancel.abort(), 400);
  const { result } = await run("cancelled", "#!/bin/sh\nsleep 300\n", { signal: cancel.signal });
  t.match(result, { ok: false, timedOut: false, detail: /was cancelled/ });
});

t.test("trap 35: the application that a hook starts survives it, and may go on printing", async (t) => {
  const { result, lines, ms } = await run(
    "application.ts",
    `import { $ } from "holdfast";
     export default async () => {
       await $\`(for i in 1 2 3; do sleep 0.4; echo application $i; done; echo -n done > finished; exec sleep 300) & echo -n $! > application\`;
       console.log("started");
     };`,
  );
  t.match(result, { ok: true });
  t.ok(ms < 1200, `the hook returned after ${ms} ms, before the application ended`);
  const pid = numberIn("application");
  t.teardown(() => process.kill(pid, "SIGKILL"));
  t.ok(alive(pid), "the application lives");
  // As after a restart of the daemon: nobody follows the file any more.
  stopFollowing(outputFile);
  const seen = lines.length;
  while (!existsSync(join(directory, "finished"))) await Bun.sleep(50);
  t.ok(alive(pid), "it still lives after printing without a reader");
  t.equal(lines.length, seen);
  t.match(readFileSync(outputFile, "utf8"), /application 3/);
});

t.test("trap 36: the environment is clean and fixed", async (t) => {
  process.env["BUN_OPTIONS"] = "--version";
  process.env["LD_PRELOAD"] = "/nonexistent.so";
  process.env["OUTSIDE"] = "1";
  t.teardown(() => {
    for (const name of ["BUN_OPTIONS", "LD_PRELOAD", "OUTSIDE"]) delete process.env[name];
  });
  const { lines } = await run("environment", "#!/bin/sh\nenv | sort\n", {
    env: { HOLDFAST_MARK: "mark", LD_PRELOAD: "/x.so", NODE_OPTIONS: "-r x", BASH_ENV: "/x", PATH: "/evil" },
  });
  const names = lines.map((line) => line.split("=")[0]!);
  t.same(
    names.filter((name) => !name.startsWith("HOLDFAST_")),
    ["HOME", "LANG", "PATH", "PWD", "SHELL"],
  );
  t.ok(lines.includes("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
  t.ok(lines.includes("HOLDFAST_MARK=mark"));
  t.ok(lines.includes("HOLDFAST_VAR_port=5432"));
});

t.test(
  "traps 34 and 35a: no descriptor, signal disposition or priority of the daemon is inherited",
  async (t) => {
    const source =
      "#!/bin/sh\nfor fd in /proc/$$/fd/*; do readlink $fd; done | sort -u | tr '\\n' ' '; echo\n" +
      "grep SigIgn /proc/$$/status\ncat /proc/$$/oom_score_adj\ncut -d' ' -f19 /proc/$$/stat\n";
    const oom = "/proc/self/oom_score_adj";
    const before = readFileSync(oom, "utf8");
    try {
      setPriority(-5);
      writeFileSync(oom, "-500");
    } catch (error) {
      t.comment(`not raised, so only half of it is shown: ${String(error)}`);
    }
    const { lines } = await run("inheritance", source).finally(() => {
      setPriority(0);
      writeFileSync(oom, before);
    });
    const open = lines[0]!
      .trim()
      .split(" ")
      .filter((file) => !file.startsWith("pipe:"));
    t.same(open, ["/dev/null", join(directory, "inheritance"), outputFile], "the shell's script is its own");
    t.equal(lines[1], "SigIgn:\t0000000000000000");
    t.ok(Number(lines[2]) >= 0);
    t.ok(Number(lines[3]) >= 0);
  },
);

t.test("the hook and all it starts belong to the module's cgroup", async (t) => {
  const root = readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .find((line) => line.split(" ")[2] === "cgroup2")
    ?.split(" ")[1];
  const cgroupPath = join(root ?? "/nonexistent", `holdfast-test-${process.pid}`);
  try {
    mkdirSync(cgroupPath);
  } catch {
    return void t.pass("no cgroup can be made here");
  }
  try {
    const { result, lines } = await run("cgroup", "#!/bin/sh\ncat /proc/self/cgroup\n", { cgroupPath });
    t.match(result, { ok: true });
    t.ok(
      lines.some((line) => line.endsWith(`/holdfast-test-${process.pid}`)),
      lines.join("; "),
    );
  } finally {
    rmdirSync(cgroupPath);
  }
  const refused = await run("cgroup", "#!/bin/sh\ntrue\n", { cgroupPath: "/nonexistent/cgroup" });
  t.match(refused.result, { ok: false });
});

t.test("a hook that prints without end is bounded, and its end is still told", async (t) => {
  const { result, lines } = await run(
    "chatter",
    "#!/bin/sh\nyes 0123456789 | head -c 30000000\necho; echo last\n",
  );
  t.match(result, { ok: true });
  const total = lines.reduce((sum, line) => sum + line.length, 0);
  t.ok(total < 4_000_000, `${total} characters`);
});

t.test("a hook that cannot be started says why", async (t) => {
  const { result } = await run("nowhere.ts", "", { context: call({ dir: "/nonexistent" }) });
  t.match(result, { ok: false, timedOut: false, detail: /could not be run/ });
  const { result: noDirectory } = await run("nowhere.ts", "", { outputFile: "/nonexistent/output" });
  t.match(noDirectory, { ok: false, detail: /could not be run: .*\/nonexistent\/output/ });
});
