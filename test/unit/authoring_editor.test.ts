/**
 * A module as an editor sees it: `deno check` and `tsc` find nothing wrong in any template, nor in a hook that uses each
 * export of the SDK; and the SDK's single source file does under real Deno what the binary's own does.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import * as sdk from "../../hooks/sdk/mod.ts";
import { writeEditorFiles } from "../../modules/mod.ts";
import { TEMPLATES } from "../../templates/catalog.ts";
import { binary, deno, noDeno, scratch, sourceRoot, writeFiles } from "../fixtures/scratch.ts";

t.setTimeout(110_000);
const tsc = join(sourceRoot, "node_modules/.bin/tsc");
const work = scratch("editor");

const ALL_TESTS = "all.test.ts";
const EVERY_EXPORT = `import {
  $, adopt, type CheckerContext, type CheckerResult, Command, CommandError, type CommandResult, type Comparison, defineChecker, defineHook,
  defineRules, type HookCall, type HookContext, log, powershell, retry, type Rule, type RuleAction, type RuleCondition, secret, secretFile, type Service, service, type ServiceOptions, type WaitOptions, waitFor,
} from "holdfast";
import { readFileSync } from "node:fs";
const checker = defineChecker(async ({ vars, signal }: CheckerContext): Promise<CheckerResult> =>
  signal.aborted ? { state: "down", detail: vars["port"] ?? "" } : true);
const action: RuleAction = "swap";
const asked: RuleCondition = { all: ["tcp.db == down" satisfies Comparison, { not: "remote.tcp.db == down" }] };
const rule: Rule = { if: asked, then: action };
export const rules: Record<string, Rule<string>> = defineRules({ rule });
const options: ServiceOptions = { pidFile: "/run/a.pid", start: new Command("true"), timeout: "5s" };
const patience: WaitOptions = { timeout: "1s" };
export default defineHook(async (context: HookContext) => {
  const call: HookCall = context;
  const made: Service = service("nginx", options);
  await made.start();
  const result: CommandResult = await $\`echo \${[call.module, 1]}\`.quiet().nothrow().timeout("5s").cwd("/").env({ A: "b" }).input("x");
  const piped: string[] = await $\`echo a\`.pipe($\`cat\`).lines();
  await waitFor(() => true, { ...patience, what: "nothing" });
  await waitFor.tcp(80, patience);
  await waitFor.http("http://127.0.0.1/", { status: 200 });
  await waitFor.file("/run/a", { gone: true });
  await waitFor.process(/^postgres/);
  const parsed: unknown = await retry(async (attempt) => attempt > 1 ? await $\`echo 1\`.json() : null, { attempts: 2, delay: "1ms" });
  adopt(Number(await powershell\`Get-Process -Name \${call.module}\`.text()));
  try { await $\`false\`; } catch (error) { if (error instanceof CommandError) log.error(error.exitCode, error.stderr); }
  log(result.exitCode, piped, parsed, secret("key"), secretFile("key"), readFileSync("/etc/hostname", "utf8"), checker);
  log.info(await Deno.readTextFile("/etc/hostname"), Deno.hostname(), process.pid);
  log.warning(import.meta.dirname, await (await fetch("http://127.0.0.1/")).text());
});
`;

/** A module of its own in the scratch directory. */
async function moduleOf(name: string, files: Readonly<Record<string, string>>): Promise<string> {
  const directory = writeFiles(join(work, name), files);
  await writeEditorFiles(directory);
  return directory;
}

function run(command: readonly string[], cwd: string, env: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(command[0]!, command.slice(1), {
    cwd,
    encoding: "utf8",
    timeout: 60_000,
    env: {
      PATH: process.env["PATH"] ?? "",
      HOME: work,
      DENO_DIR: join(work, "deno"),
      DENO_NO_UPDATE_CHECK: "1",
      NO_COLOR: "1",
      ...env,
    },
  });
  return { status, stdout, stderr };
}

t.test(
  "editors find nothing wrong in a template, nor in what uses each export",
  { skip: noDeno },
  async (t) => {
    // One project with all of them side by side: a check of its own for each would take a minute.
    const all: Record<string, string> = { "every/hooks/prestart.ts": EVERY_EXPORT };
    for (const { name, files } of TEMPLATES)
      for (const [path, text] of Object.entries(files)) all[`${name}/${path}`] = text;
    const tests = Object.keys(all).filter((path) => path.endsWith(".test.ts"));
    all[ALL_TESTS] = tests.map((path) => `import "./${path}";\n`).join("");
    const directory = await moduleOf("all", all);
    t.match(run([deno, "check", "."], directory), { status: 0 }, "deno check");
    t.match(run([tsc, "-p", "."], directory), { status: 0, stdout: "" }, "tsc");
    // The templates' own tests, under Deno as well: as one file, since Deno starts anew for each.
    const tested = run([deno, "test", "-A", "--no-check", "--quiet", ALL_TESTS], directory);
    t.match(tested, { status: 0, stdout: /\d\d? passed/ }, "deno test");
    const names = EVERY_EXPORT.slice(0, EVERY_EXPORT.indexOf("}"));
    for (const name of Object.keys(sdk)) t.ok(names.includes(`${name},`), `${name} is used`);
  },
);

const SCRIPT = `import { $, log, retry, secret, service, waitFor } from "holdfast";
log("said", { a: [1, "b"] });
log.warning("beware");
console.log(await $\`echo \${"a b'c"} | cat\`.text(), (await $\`exit 3\`.nothrow()).exitCode);
console.log(await $\`cat\`.input("given").text(), await $\`printf 'a\\\\nb\\\\n'\`.lines());
await $\`echo straight through\`;
for (const failing of [$\`echo why >&2; exit 3\`.quiet(), $\`sleep 100\`.timeout("100ms"), $\`false\`.pipe($\`cat\`), $\`kill -9 $$\`])
  console.log(await failing.catch((error) => String(error)));
const left = Number(await $\`sleep 100 & echo $!\`.text());
Deno.kill(left, "SIGKILL");
const program = service("sleeper", { pidFile: "pid", start: "sleep 100 >/dev/null & echo $! >pid" });
await program.start();
console.log(await program.status(), await program.isActive());
await program.stop({ force: true });
console.log(await program.status(), await retry((attempt) => { if (attempt < 3) throw new Error("no"); return attempt; }, { delay: "1ms" }));
const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, () => new Response("here"));
await waitFor.tcp(server.addr.port);
await waitFor.http(\`http://127.0.0.1:\${server.addr.port}/\`, { status: 200 });
await waitFor.process(/deno|holdfast/, { timeout: "1s" }).catch(() => undefined);
console.log(await waitFor.file("nowhere", { timeout: "20ms", interval: "5ms" }).catch((error) => error.message));
await server.shutdown();
console.log(secret("key"));
try { secret("other"); } catch (error) { console.log(error instanceof Error && error.message); }
`;

t.test("the SDK's source file does the same under Deno as the binary's own", { skip: noDeno }, async (t) => {
  const directory = await moduleOf("script", { "main.ts": SCRIPT, "secrets/key": "hush\n" });
  const env = { HOLDFAST_SECRETS: join(directory, "secrets") };
  const ours = run([binary, "run", "main.ts"], directory, env);
  const theirs = run([deno, "run", "-A", "--no-check", "--quiet", "main.ts"], directory, env);
  t.equal(theirs.status, 0, theirs.stderr);
  t.match(theirs.stdout, /hush\nthe secret other was not handed to this run/);
  t.same(ours.stdout.split("\n"), theirs.stdout.split("\n"));
  t.equal(ours.status, 0, ours.stderr);
});

t.test("the SDK is one file, without an import of anything but node:", async (t) => {
  const directory = await moduleOf("single", {});
  const source = readFileSync(join(directory, ".holdfast/mod.ts"), "utf8");
  for (const [, from] of source.matchAll(/^import .* from "(.*)";$/gm)) t.match(from, /^node:/);
  t.notMatch(source, /\bBun\b/);
  const exported = [...source.matchAll(/^export (?:async )?(?:function|const|class) ([\w$]+)/gm)].map(
    ([, name]) => name,
  );
  t.same(new Set(exported), new Set(Object.keys(sdk)));
});
