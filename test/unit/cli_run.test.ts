/**
 * Commands as typed, with a real daemon: exit statuses, JSON on stdout and nothing else, errors that say what to do.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { statusText } from "../../core/cli/commands/status.ts";
import { Output } from "../../core/cli/output.ts";
import type { NodeStatus } from "../../core/daemon/engine.ts";
import { selfCommand } from "../../core/platform/self.ts";

t.setTimeout(120_000);

const scratch = mkdtempSync("/tmp/holdfast-cli-");
const varDir = join(scratch, "var");
const port = 20_000 + (process.pid % 20_000);
const subnet = `127.${1 + (process.pid % 250)}.9`;
const clusterFile = join(scratch, "cluster.yaml");
writeFileSync(
  clusterFile,
  `name: words\nport: ${port}\nnodes:\n  n1: { addresses: { lan: ${subnet}.1 } }\n  n2: { addresses: { lan: ${subnet}.2 } }\n`,
);

interface Said {
  status: number;
  stdout: string;
  stderr: string;
}

async function type(...words: string[]): Promise<Said> {
  const child = Bun.spawn([...selfCommand(...words), "--var", varDir], { stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { status, stdout, stderr };
}

t.test("without a daemon", async (t) => {
  const status = await type("status", "--json");
  t.equal(status.status, 3);
  t.match(JSON.parse(status.stdout), { status: 3, message: /daemon does not answer/ });
  t.match(status.stderr, /holdfast daemon/, "what to do");
  t.equal((await type("statsu")).status, 2);
  t.equal((await type("cluster", "show")).status, 2);

  const wrong = join(scratch, "wrong.yaml");
  writeFileSync(wrong, "name: x\nnodes:\n  n1: { addresses: { lan: nowhere } }\n");
  const refused = await type("cluster", "create", wrong, "--as", "n1");
  t.equal(refused.status, 2);
  t.match(refused.stderr, `${wrong}:3:`, "the place of what is wrong");
  t.notOk(existsSync(join(varDir, "cluster")), "nothing was changed");

  t.equal((await type("module", "new", "shop", "--template", "mirror", "--set", "vars.port=80")).status, 0);
  t.equal(
    (await type("module", "new", "shop", "--template", "mirror")).status,
    2,
    "a module is not overwritten",
  );
  const unknown = await type("module", "new", "odd", "--template", "mirror", "--set", "vras.port=80");
  t.match(
    [unknown.status, unknown.stderr],
    [2, /^holdfast: --set vras\.port=80: unknown key "vras": did you mean vars/],
  );
  t.match(await type("module", "new", "witness", "--template", "mirror"), { status: 2, stderr: /cannot be/ });
  t.notOk(existsSync(join(varDir, "modules", "odd")), "nothing was made");
  t.equal((await type("module", "path", "shop")).stdout.trim(), join(varDir, "modules", "shop"));
  t.equal((await type("module", "check", "shop")).status, 0);
  writeFileSync(join(varDir, "modules", "shop", "hooks", "start_prime.ts"), "export default 1");
  const check = await type("module", "check", "shop", "--json");
  t.equal(check.status, 2);
  t.match(check.stdout, "did you mean start_prim");
  rmSync(join(varDir, "modules", "shop", "hooks", "start_prime.ts"));
});

t.test("a reader that has enough, and a full disk, are no fault of the program", async (t) => {
  const piped = async (shell: string): Promise<Said> => {
    const words = [...selfCommand("module", "schema"), "--var", varDir].map((word) => `'${word}'`).join(" ");
    const child = Bun.spawn(["bash", "-c", shell.replace("SCHEMA", words)], {
      stdout: "pipe",
      stderr: "pipe",
    });
    const stdout = await new Response(child.stdout).text();
    return { status: await child.exited, stdout, stderr: await new Response(child.stderr).text() };
  };
  t.strictSame(await piped("set -o pipefail; SCHEMA | true"), { status: 0, stdout: "", stderr: "" });
  const full = await piped("SCHEMA > /dev/full");
  t.match(full, { status: 1, stderr: /^holdfast: standard output cannot be written: ENOSPC[^\n]*\n$/ });
});

t.test("a module is edited with the editor that is named, and checked", async (t) => {
  const edit = async (editor: string, ...words: string[]): Promise<Said> => {
    const child = Bun.spawn(
      [...selfCommand("module", "edit", "shop", "--no-types", ...words), "--var", varDir],
      {
        env: { ...process.env, VISUAL: "", EDITOR: editor },
        stdout: "pipe",
        stderr: "pipe",
      },
    );
    const [stdout, stderr] = await Promise.all(
      [child.stdout, child.stderr].map((said) => new Response(said).text()),
    );
    return { status: await child.exited, stdout: stdout!, stderr: stderr! };
  };
  t.match(await edit("true"), { status: 0, stdout: /module.yaml is as it was/ });
  t.match(await edit("sed -i s/start:/strat:/"), {
    status: 2,
    stderr: /module.yaml:\d+:\d+: timeouts.strat/,
  });
  const mended = await edit("sed -n p; sed -i s/strat:/start:/", "--json");
  t.match(JSON.parse(mended.stdout), { status: 0, changed: true, errors: [] }, "stdout is the answer alone");
  t.match(await edit("true", "hooks/start_prim.ts"), { status: 0, stdout: /start_prim.ts is as it was/ });
  t.match(await edit("true", "../../x"), { status: 2, stderr: /outside of/ });
  t.match(await edit("false"), { status: 1, stderr: /false ended with 1/ });
});

t.test("with a daemon", { skip: process.getuid?.() === 0 ? false : "the daemon needs root" }, async (t) => {
  t.equal((await type("cluster", "create", clusterFile, "--as", "n1")).status, 0);
  const daemon = Bun.spawn([...selfCommand("daemon"), "--var", varDir, "--json"], {
    stdout: "pipe",
    stderr: "ignore",
  });
  t.teardown(async () => {
    daemon.kill("SIGTERM");
    await daemon.exited;
  });
  for (let tries = 0; tries < 100 && (await type("status")).status === 3; tries++) await Bun.sleep(50);

  const status = await type("status", "--json");
  t.strictSame(
    [status.status, JSON.parse(status.stdout)],
    [0, { version: 1, cluster: "words", modules: {} }],
  );
  t.match((await type("status")).stdout, "no module yet");
  t.equal((await type("cluster", "create", clusterFile, "--as", "n1")).status, 1, "it is a member already");
  t.equal((await type("start", "nothing")).status, 2);
  t.match(await type("log", "nothing"), {
    status: 2,
    stderr: /^holdfast: there is no module "nothing" on n1/,
  });
  t.equal((await type("log", "--node", "n9")).status, 2);
  t.equal((await type("status", "--node", "n9")).status, 2);
  const state = await type("cluster", "state", "--json");
  t.equal(state.status, 4, "n2 does not answer");
  t.match(JSON.parse(state.stdout), { nodes: { n1: { reachable: true }, n2: { reachable: false } } });
  const dry = await type("module", "apply", "shop", "--dry-run", "--json");
  t.match([dry.status, JSON.parse(dry.stdout)], [0, { message: /is valid/ }]);
  const hook = join(varDir, "modules", "shop", "hooks", "start_prim.ts");
  const good = readFileSync(hook, "utf8");
  writeFileSync(hook, "export default (context: { port: number }) => console.log(context.prot);\n");
  const wrong = await type("module", "apply", "shop", "--json");
  t.match(
    [wrong.status, JSON.parse(wrong.stdout)],
    [2, { message: /^hooks\/start_prim\.ts:1:67: .*'prot'/m }],
  );
  t.match(JSON.parse((await type("module", "list", "--json")).stdout), {
    modules: [{ name: "shop", loaded: null }],
  });
  const urgent = await type("module", "apply", "shop", "--dry-run", "--no-types", "--json");
  t.match([urgent.status, JSON.parse(urgent.stdout)], [0, { message: /is valid/ }]);
  writeFileSync(hook, good);
  t.match(await type("module", "remove", "shop"), {
    status: 2,
    stderr: /never applied here.*: rm -r .*shop/,
  });
  const token = JSON.parse((await type("cluster", "token", "--json")).stdout) as { token: string };
  t.match(token.token, /^hf1\./);
  daemon.kill("SIGTERM");
  const told = (await new Response(daemon.stdout).text()).trim().split("\n");
  t.match(
    told.map((line) => JSON.parse(line) as unknown),
    [{ message: "n1 of cluster words" }, { message: /^stopping/ }],
    "its stdout is JSON alone",
  );
});

t.test("an exit status of a script is passed on", async (t) => {
  const script = join(scratch, "script.ts");
  writeFileSync(
    script,
    'import { log } from "holdfast"; log(process.argv.slice(2).join()); process.exitCode = 7;',
  );
  const { status, stdout } = await type("run", script, "--json", "a");
  t.strictSame([status, stdout.split(",").slice(0, 2)], [7, ["--json", "a"]]);
});

t.test("the status says why, how far, and what to do", async (t) => {
  const node = (state: NodeStatus["state"], more: Partial<NodeStatus> = {}): NodeStatus => ({
    ...{ state, readiness: "Ready", upToDate: true, reason: "because", since: "2026-01-01T00:00:00Z" },
    ...{ resources: {}, ...more },
  });
  const reintegration = {
    phase: "data" as const,
    ...{ full: false, bytesDone: 512, bytesTotal: 1024, filesDone: 1, filesTotal: 2 },
    ...{ startedAt: 0, etaMs: 2000 },
  };
  const nodes = {
    n1: node("WAIT", { readiness: "NotReady", upToDate: false, remedy: "holdfast prim db" }),
    n2: node("SECOND", { reintegration }),
    n3: node("UNKNOWN", { since: "", upToDate: null }),
  };
  const text = statusText(
    { version: 1, cluster: "words", modules: { db: { kind: "mirror", nodes } } },
    new Output(true),
    Date.parse("2026-01-01T00:00:30Z"),
  );
  t.match(text, /^db +n1 +WAIT +NotReady +not up to date +30 s$/m);
  t.match(text, "to do: holdfast prim db");
  t.match(text, /reintegration █+░+ 50 % {2}512 B of 1 KiB, 1 of 2 files, 2.0 s to go/);
  t.match(text, /^db +n3 +UNKNOWN +Ready +- +-$/m);
});

t.teardown(() => rmSync(scratch, { recursive: true }));
