/**
 * `permissions` of module.yaml against hooks that try: real files, real programs, real sockets, the kernel's own refusals.
 */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { landlockAbi, limitsTcp } from "../../core/platform/linux/landlock.ts";
import { limitsOf, notEnforced, type Permissions } from "../../hooks/limits.ts";
import { stopFollowing } from "../../hooks/output.ts";
import { runHook } from "../../hooks/runner.ts";
import { writeSecrets } from "../../hooks/secret_files.ts";
import { hookCall } from "../fixtures/hook_call.ts";

const root = realpathSync(mkdtempSync(join(tmpdir(), `holdfast-permissions-${process.pid}-`)));
const directory = join(root, "module");
const outputFile = join(root, "output");
for (const name of ["module/hooks", "module/data", "allowed", "denied"])
  mkdirSync(join(root, name), { recursive: true });
for (const name of ["allowed/file", "denied/file"]) writeFileSync(join(root, name), name);
t.teardown(() => {
  stopFollowing(outputFile);
  rmSync(root, { recursive: true });
});
const abi = landlockAbi();
const skip = abi === 0 ? "NOT TRIED: this kernel has no Landlock" : false;

const context = hookCall(directory);

async function run(
  name: string,
  source: string,
  permissions?: Permissions,
  secrets: Record<string, string> = {},
) {
  const file = join(directory, "hooks", name);
  writeFileSync(file, source);
  const typescript = name.endsWith(".ts");
  if (!typescript) chmodSync(file, 0o755);
  const lines: string[] = [];
  const kind = typescript ? "typescript" : "executable";
  const result = await runHook({
    file,
    kind,
    context,
    timeoutMs: 30_000,
    outputFile,
    onOutput: (line) => lines.push(line),
    permissions,
    secrets,
  });
  return { result, lines };
}

/** A hook that tries each piece of work, and prints what came of it. */
const trying = (works: Record<string, string>) => `
import * as fs from "node:fs";
import { connect } from "node:net";
import { $ } from "holdfast";
const root = ${JSON.stringify(root)};
const sh = (line) => $\`sh -c \${line}\`.quiet().then(() => 1);
async function attempt(name, work) {
  try { const value = await work(); console.log(name, "works", value ?? ""); } catch (error) { console.log(name, "fails", error.code ?? error.exitCode ?? error.name); }
}
export default async () => {
${Object.entries(works)
  .map(([name, work]) => `  await attempt(${JSON.stringify(name)}, async () => ${work});`)
  .join("\n")}
};`;

const all: Permissions = { read: true, write: true, net: true, run: true, env: true };

t.test("reading is limited to what is listed, in every thread", { skip }, async (t) => {
  const { result, lines } = await run(
    "read.ts",
    trying({
      allowed: 'fs.readFileSync(root + "/allowed/file", "utf8")',
      "allowed, by a thread": 'fs.promises.readFile(root + "/allowed/file", "utf8")',
      denied: 'fs.readFileSync(root + "/denied/file", "utf8")',
      "denied, by a thread": 'fs.promises.readFile(root + "/denied/file", "utf8")',
      "denied, by Deno": 'Deno.readTextFile(root + "/denied/file")',
      "denied, by Bun": 'Bun.file(root + "/denied/file").text()',
      listing: "fs.readdirSync(root).length",
      shadow: 'fs.readFileSync("/etc/shadow").length > 0',
      "a link to it": '(fs.symlinkSync(root + "/denied/file", root + "/allowed/link" + Math.random()), 1)',
      "its own module": "fs.readdirSync(import.meta.dirname).length > 0",
      "through another process's root":
        'fs.readFileSync("/proc/" + process.ppid + "/root" + root + "/denied/file")',
      "a program's reading": 'sh("cat " + root + "/denied/file")',
      "asked of Deno":
        '[(await Deno.permissions.query({ name: "read", path: root + "/denied" })).state, Deno.permissions.querySync({ name: "read", path: root + "/allowed/file" }).state, Deno.permissions.querySync({ name: "read" }).state, Deno.permissions.querySync({ name: "write" }).state].join()',
    }),
    { ...all, read: [join(root, "allowed")] },
  );
  t.match(result, { ok: true }, lines.join("\n"));
  t.same(lines, [
    "allowed works allowed/file",
    "allowed, by a thread works allowed/file",
    "denied fails EACCES",
    "denied, by a thread fails EACCES",
    "denied, by Deno fails EACCES",
    "denied, by Bun fails EACCES",
    "listing fails EACCES",
    "shadow fails EACCES",
    "a link to it works 1",
    "its own module works true",
    "through another process's root fails EACCES",
    "a program's reading fails 1",
    "asked of Deno works denied,granted,denied,granted",
  ]);
});

t.test("writing is limited to what is listed", { skip }, async (t) => {
  const { result, lines } = await run(
    "write.ts",
    trying({
      allowed: 'fs.writeFileSync(root + "/allowed/new", "x")',
      "allowed directory": 'fs.mkdirSync(root + "/allowed/d")',
      renamed: 'fs.renameSync(root + "/allowed/new", root + "/allowed/d/moved")',
      removed: 'fs.rmSync(root + "/allowed/d", { recursive: true })',
      relative: 'fs.writeFileSync("data/x", "x")',
      denied: 'fs.writeFileSync(root + "/denied/new", "x")',
      "denied, an old file": 'fs.appendFileSync(root + "/denied/file", "x")',
      "denied removal": 'fs.unlinkSync(root + "/denied/file")',
      "denied truncation": 'fs.truncateSync(root + "/denied/file")',
      "denied by renaming": 'fs.renameSync(root + "/allowed/file", root + "/denied/moved")',
      "the module's hooks": 'fs.writeFileSync("hooks/stop_prim.ts", "x")',
      "a program's writing": 'sh("touch " + root + "/denied/new")',
      "/dev/null": 'fs.writeFileSync("/dev/null", "x")',
      "reading all": 'fs.readFileSync(root + "/denied/file", "utf8")',
    }),
    { ...all, write: [join(root, "allowed"), "data", join(root, "not_there")] },
  );
  t.match(result, { ok: true }, lines.join("\n"));
  const [warning, ...rest] = lines;
  t.equal(
    warning,
    `warning: permissions name ${root}/not_there, which is not there: nothing is allowed for it`,
  );
  t.same(
    rest.map((line) => line.replace(/ fails EXDEV$/, " fails EACCES")),
    [
      "allowed works ",
      "allowed directory works ",
      "renamed works ",
      "removed works ",
      "relative works ",
      "denied fails EACCES",
      "denied, an old file fails EACCES",
      "denied removal fails EACCES",
      abi >= 3 ? "denied truncation fails EACCES" : "denied truncation works ",
      "denied by renaming fails EACCES",
      "the module's hooks fails EACCES",
      "a program's writing fails 1",
      "/dev/null works ",
      `reading all works ${abi >= 3 ? "denied/file" : ""}`,
    ],
  );
});

t.test("programs are limited to those that are listed", { skip }, async (t) => {
  const works = {
    listed: "$`echo a | tr a b`.text()",
    "another one": "$`id`.quiet().then(() => 1)",
    "by Deno": 'new Deno.Command("/usr/bin/id").output().then(({ code }) => code)',
    "a copy of it":
      '(fs.copyFileSync("/usr/bin/id", root + "/allowed/id"), fs.chmodSync(root + "/allowed/id", 0o755), sh(root + "/allowed/id"))',
  };
  const limited = await run("run.ts", trying(works), { ...all, run: ["tr"] });
  t.same(limited.lines.slice(0, 2), ["listed works b", "another one fails 126"], limited.lines.join("\n"));
  t.match(limited.lines[2], /^by Deno fails EACCES|^by Deno fails EPERM/);
  t.equal(limited.lines[3], "a copy of it fails 126");
  const none = await run("run.ts", trying({ listed: "$`echo a`.quiet().then(() => 1)" }), {
    ...all,
    run: [],
  });
  t.match(none.lines[0], /^listed fails /);
  const executable = await run("run", "#!/bin/sh\necho runs\nid >&2 || echo refused\n", {
    ...all,
    run: ["/bin/sh"],
  });
  t.equal(executable.lines[0], "runs", "the hook itself may run");
  t.equal(executable.lines.at(-1), "refused");
});

t.test(
  "TCP is limited to the listed ports",
  { skip: skip || (limitsTcp(abi) ? false : "NOT TRIED: Landlock knows no ports here") },
  async (t) => {
    const servers = [createServer().listen(0, "127.0.0.1"), createServer().listen(0, "127.0.0.1")];
    const ports = await Promise.all(
      servers.map(async (server) => {
        await new Promise((resolve) => server.once("listening", resolve));
        return (server.address() as { port: number }).port;
      }),
    );
    t.teardown(() => servers.map((server) => server.close()));
    const dial = (port: number) =>
      `new Promise((yes, no) => connect(${port}, "127.0.0.1").once("connect", function () { this.destroy(); yes(1); }).once("error", no))`;
    const works = {
      allowed: dial(ports[0]!),
      denied: dial(ports[1]!),
      "denied, by Deno": `Deno.connect({ port: ${ports[1]} })`,
      "denied, by fetch": `fetch("http://127.0.0.1:${ports[1]}/").then(() => 1)`,
      listening: "(Deno.listen({ hostname: '127.0.0.1', port: 0 }), 1)",
    };
    const { lines } = await run("net.ts", trying(works), { ...all, net: [`127.0.0.1:${ports[0]}`] });
    t.equal(lines[0], "allowed works 1", lines.join("\n"));
    for (const line of lines.slice(1)) t.match(line, / fails /);
    t.equal(lines.length, 5);
    const free = await run("net.ts", trying({ denied: works.denied }), { ...all, net: ["localhost"] });
    t.same(free.lines, ["denied works 1"], "a host without a port is every port");
  },
);

t.test("the environment holds what is listed, and Holdfast's own", async (t) => {
  const { lines } = await run(
    "env",
    "#!/bin/sh\nenv | sort | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD= | cut -d= -f1\n",
    { ...all, env: ["LANG", "NOT_SET"] },
  );
  t.same(
    lines.filter((line) => !line.startsWith("HOLDFAST_")),
    ["LANG", "PATH"],
  );
  t.ok(lines.includes("HOLDFAST_MODULE"));
});

t.test("what is left out is allowed nothing, and no permissions is no limit", { skip }, async (t) => {
  const works = {
    read: 'fs.readFileSync(root + "/denied/file").length > 0',
    write: 'fs.writeFileSync(root + "/allowed/y", "")',
    run: "$`true`.quiet().then(() => 1)",
  };
  t.same(
    (await run("nothing.ts", trying(works), {})).lines.map((line) => line.split(" ")[1]),
    ["fails", "fails", "fails"],
  );
  t.same(
    (await run("nothing.ts", trying(works))).lines.map((line) => line.split(" ")[1]),
    ["works", "works", "works"],
  );
});

t.test("what a kernel does not enforce is said", async (t) => {
  const limits = limitsOf({ read: [], net: ["a:80"] }, "/m");
  t.match(notEnforced(limits, 0), [/no Landlock/, /permissions\.net is not enforced/]);
  t.match(notEnforced(limits, 3), [/permissions\.net is not enforced/]);
  t.same(notEnforced(limits, 4), []);
  t.same(notEnforced(limitsOf({ ...all, net: ["a"] }, "/m"), 0), []);
});

t.test("secrets are files in memory for one run, and stars in the log", async (t) => {
  const source = `#!/bin/sh
stat -f -c %T "$HOLDFAST_SECRETS"; stat -c %a "$HOLDFAST_SECRETS" "$HOLDFAST_SECRETS/key"
echo "the key is $(cat "$HOLDFAST_SECRETS/key")"; env | grep -c hunter2; tr '\\0' ' ' < /proc/$$/cmdline | grep -c hunter2
echo "$HOLDFAST_SECRETS"`;
  const { lines } = await run("secret", source, undefined, { key: "hunter2\nsecond line\n", pin: "1" });
  t.match(lines[0], /tmpfs|ramfs/);
  t.same(lines.slice(1, 3), ["700", "400"]);
  t.same(lines.slice(3, 7), ["the key is ***", "***", "0", "0"]);
  t.notOk(existsSync(lines[7]!), "gone with the run");
  const others = writeSecrets({ key: "of another run" });
  const typescript = await run(
    "secret.ts",
    `import { readFileSync } from "node:fs";
     import { secret, secretFile } from "holdfast";
     export default () => {
       console.log(secret("key").length, readFileSync(secretFile("key")).length, "hunter2");
       try { console.log(readFileSync(${JSON.stringify(join(others, "key"))}, "utf8")); } catch ({ code }) { console.log(code); }
     };`,
    { ...all, read: [], write: [], run: [] },
    { key: "hunter2\n" },
  );
  rmSync(others, { recursive: true });
  t.same(typescript.lines, ["7 8 ***", abi === 0 ? "of another run" : "EACCES"], "its own, and no other's");
  t.same(
    readdirSync("/run").filter((name) => name.startsWith(`holdfast-secrets-${process.pid}-`)),
    [],
  );
  t.equal(statSync("/run").isDirectory(), true);
});
