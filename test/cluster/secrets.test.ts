/**
 * Secrets on real nodes: set on one, read by a hook on the other after a failover; set while a node has no power, or by a daemon that is killed
 * meanwhile; and all the time nowhere in clear, on either node, but in the file in memory while a hook runs.
 */
import { createHash, randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import t from "tap";
import { SecretStore } from "../../core/secrets/secrets.ts";
import { Life, onRealNodes } from "./life.ts";
import { createMirror } from "./mirror.ts";
import { type Node, until } from "./testbed.ts";

t.setTimeout(400_000);

const RHYTHM = "{ when: prim, interval: 500ms, timeout: 10s, action: none }";
const YAML = `replicate:
  paths:
    - path: DATA
secrets: [password, tls_key]
checkers: { custom: { login: ${RHYTHM}, shell: ${RHYTHM} } }
`;
const MODULE = {
  "hooks/start_prim.ts": `import { createHash } from "node:crypto";
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { $, defineHook, log, secret, secretFile } from "holdfast";
const hash = (value: string | Uint8Array) => createHash("sha256").update(value).digest("hex");
export default defineHook(async ({ node }) => {
  const password = secret("password");
  appendFileSync(\`RECORD/\${node}.read\`, \`\${hash(password)} \${hash(readFileSync(secretFile("tls_key")))}\\n\`);
  log(\`logging in with \${password}\`);
  await $\`cat \${secretFile("tls_key")}\`;
  while (existsSync("RECORD/slow")) {
    writeFileSync("RECORD/waiting", "");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  if (existsSync(\`RECORD/\${node}.fails\`)) throw new Error(\`cannot log in with "\${password}"\`);
});
`,
  "hooks/stop_prim": `#!/bin/sh
sha256sum < "$HOLDFAST_SECRETS/password" | cut -d" " -f1 >> RECORD/$HOLDFAST_NODE.stopped
echo "logging out with $(cat "$HOLDFAST_SECRETS/password")"
`,
  "checkers/login.ts": `import { defineChecker, secret } from "holdfast";
export default defineChecker(() => ({ state: "down", detail: \`refused with "\${secret("password")}"\` }));
`,
  "checkers/shell": `#!/bin/sh
echo "no login with $(cat "$HOLDFAST_SECRETS/password")"
exit 1
`,
  "hooks/prestart": `#!/bin/sh
echo prestart >> RECORD/$HOLDFAST_NODE.prestart
`,
  "hooks/transition": `#!/bin/sh
echo transition >> RECORD/$HOLDFAST_NODE.prestart
`,
};

const hash = (value: string | Uint8Array): string => createHash("sha256").update(value).digest("hex");
const newValue = (): string => `pw ${randomBytes(12).toString("hex")} "quoted"`;
/** Several lines, some of them no text. */
const TLS_KEY = Buffer.concat([
  Buffer.from(`-----BEGIN KEY ${randomBytes(6).toString("hex")}-----\n`),
  Buffer.from(`${randomBytes(24).toString("hex")}\n${randomBytes(24).toString("hex")}\n`),
  Buffer.from([0, 255, 254, 10]),
]);
/** Every text that must not be found: values, lines of values, and how they might be spelt. */
const hidden: string[] = [];
function hide(value: string | Uint8Array): void {
  const bytes = Buffer.from(value as string);
  const lines = bytes
    .toString("latin1")
    .split("\n")
    .filter((line) => line.length > 8);
  hidden.push(...lines, bytes.toString("base64").slice(0, 24), bytes.toString("hex").slice(0, 32));
}
hide(TLS_KEY);

/** The files below a directory that hold anything of a secret. */
function filesWithSecrets(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => {
      let content: string;
      try {
        content = readFileSync(file, "latin1");
      } catch {
        return false; // It is gone meanwhile.
      }
      return hidden.some((text) => content.includes(text));
    })
    .map((file) => file.slice(root.length));
}

/** Environment and arguments of every process of a node. */
function processesWithSecrets(node: Node): number[] {
  return node
    .processes()
    .map(({ pid }) => pid)
    .filter((pid) =>
      ["environ", "cmdline"].some((file) => {
        try {
          const content = readFileSync(`/proc/${pid}/${file}`, "latin1");
          return hidden.some((text) => content.includes(text));
        } catch {
          return false;
        }
      }),
    );
}

type Listed = {
  secrets: { key: string; declared: boolean; since: string | null; nodes: Record<string, string> }[];
};

t.test("secrets, from the terminal to the hook", onRealNodes, async (t) => {
  const mirror = await createMirror({
    heartbeat: "{ interval: 200ms, timeout: 2s }",
    yaml: YAML,
    files: MODULE,
  });
  t.teardown(() => mirror.bed.destroy());
  const life = new Life(t, mirror);
  const { n1, n2, bed } = mirror;
  const record = (name: string): string[] =>
    existsSync(`${bed.dir}/${name}`) ? readFileSync(`${bed.dir}/${name}`, "utf8").trimEnd().split("\n") : [];
  const set = (node: Node, key: string, input: string) =>
    node.holdfast(["secret", "set", "db", key], { input, mayFail: true });
  const list = async (node: Node): Promise<Record<string, Record<string, string>>> => {
    const { secrets } = await node.json<Listed>(["secret", "list", "db"]);
    return Object.fromEntries(secrets.map(({ key, nodes }) => [key, nodes]));
  };
  const both = { n1: "current", n2: "current" };
  const nowhere = (what: string): void => {
    for (const node of [n1, n2]) {
      t.same(filesWithSecrets(node.on.path(node.varDir)), [], `${what}: nothing in VAR of ${node.name}`);
      t.same(processesWithSecrets(node), [], `${what}: in no environment and no arguments on ${node.name}`);
      const printed = existsSync(node.daemonLog) ? readFileSync(node.daemonLog, "latin1") : "";
      t.notOk(
        hidden.some((text) => printed.includes(text)),
        `${what}: ${node.name}'s daemon prints nothing`,
      );
    }
  };

  await t.test("without a value: said by apply, refused before any hook runs", async (t) => {
    for (const more of [["--dry-run"], []]) {
      const { stdout } = await n1.holdfast(["module", "apply", "db", ...more]);
      t.match(stdout, /the secrets password, tls_key have no value on n1.*holdfast secret set db password/);
    }
    const refused = await n1.holdfast(["start", "db"], { mayFail: true });
    t.match(refused, {
      status: 1,
      stderr: /db is not started on n1: .*type: holdfast secret set db password/,
    });
    t.match(await life.status(n1), { state: "STOP", remedy: "holdfast secret set db password" });
    t.same([record("n1.prestart"), record("n2.prestart")], [[], []]);
  });

  const first = newValue();
  hide(first);
  await t.test("set by echo, from a file, at a terminal", async (t) => {
    const undeclared = await set(n1, "later", `${newValue()}\n`);
    t.match(undeclared, { status: 0, stdout: /later of db is set on n1, n2\ndb does not list later/ });
    const typed = newValue();
    hide(typed);
    const command = `${bed.binary} secret set db password --var ${n1.varDir}`;
    const typing = `(sleep 0.6; echo '${typed}'; sleep 0.4; echo '${typed}') | script -qec '${command}' /dev/null`;
    const terminal = await n1.exec(["sh", "-c", typing], { mayFail: true });
    t.match(terminal, { status: 0, stdout: /password of db \(not shown\): .*again: .*is set on n1, n2/s });
    t.notOk(terminal.stdout.includes(typed), "the terminal does not show it");
    const store = (node: Node): SecretStore => new SecretStore(node.on.path(node.varDir), node.name);
    t.equal(Buffer.from(store(n2).values("db", ["password"])["password"]!).toString(), typed);
    t.match(await set(n1, "password", `${first}\n`), { status: 0, stderr: "" });
    writeFileSync(`${bed.dir}/tls.key`, TLS_KEY);
    const fromFile = `${bed.binary} secret set db tls_key --var ${n2.varDir} < ${bed.dir}/tls.key`;
    t.match(await n2.exec(["sh", "-c", fromFile]), { status: 0, stdout: /tls_key of db is set on n2, n1/ });
    rmSync(`${bed.dir}/tls.key`);
    t.same(await list(n2), { later: both, password: both, tls_key: both });
    for (const bad of [[], ["--exact"]])
      t.match(await n1.holdfast(["secret", "set", "db", "password", ...bad], { input: "", mayFail: true }), {
        status: 2,
        stderr: /empty/,
      });
    nowhere("set");
  });

  await t.test("in memory while a hook runs, and nowhere else", async (t) => {
    writeFileSync(`${bed.dir}/slow`, "");
    const starting = mirror.start();
    await until("start_prim waits", () => existsSync(`${bed.dir}/waiting`), 20_000);
    nowhere("while the hook runs");
    const run = n1.on.path("/run");
    const files = (): string[] => filesWithSecrets(run).sort((a, b) => (a < b ? -1 : 1));
    await until("what it printed is read and erased", () => files().every((file) => !file.endsWith(".log")));
    t.match(files(), [/^\/holdfast-\w+\/holdfast-secrets-.*\/password$/, /holdfast-secrets-.*\/tls_key$/]);
    for (const file of files()) {
      t.equal(statSync(run + file).mode & 0o777, 0o400);
      t.equal(statSync(join(run + file, "..")).mode & 0o777, 0o700);
    }
    t.notOk(existsSync(join(run + files()[0]!, "../later")), "only what module.yaml lists");
    t.equal((await n1.exec(["stat", "-fc", "%T", "/run"])).stdout.trim(), "tmpfs");
    rmSync(`${bed.dir}/slow`);
    await starting;
    // The checkers begin when the start has ended, and have them for their first look.
    await until("they are gone with the run", () => files().length === 0);
    t.same(record("n1.read"), [`${hash(first)} ${hash(TLS_KEY)}`], "the hook read both, byte for byte");
    const { stdout } = await n1.holdfast(["log", "db", "--lines", "200"]);
    t.match(stdout, /logging in with \*\*\*/);
    const details = async (): Promise<(string | undefined)[]> => {
      const { resources } = await life.status(n1);
      return ["custom.login", "custom.shell"].map((name) => resources[name]?.detail);
    };
    await until("both checkers have looked", async () => (await details()).every((detail) => detail));
    t.same(await details(), ['refused with "***"', "exit status 1: no login with ***"]);
    t.notOk(hidden.some((text) => stdout.includes(text)));
  });

  await t.test(
    "a hook fails with the secret in its error: the other node takes over and reads it",
    async (t) => {
      writeFileSync(`${bed.dir}/n1.fails`, "");
      await n1.holdfast(["restart", "db"], { mayFail: true });
      await n2.holdfast(["wait", "db", "ALONE", "--timeout", "20s"]);
      t.same(record("n2.read"), [`${hash(first)} ${hash(TLS_KEY)}`]);
      t.same([...new Set(record("n1.stopped"))], [hash(first)], "an executable hook reads the file");
      rmSync(`${bed.dir}/n1.fails`);
      const log = (await n1.holdfast(["log", "db", "--lines", "200"])).stdout;
      t.match(log, /cannot log in with "\*\*\*"/);
      const told = [
        JSON.stringify(await n1.json(["status", "--all"])),
        JSON.stringify(await n1.json(["explain", "db"])),
        log,
      ].join("\n");
      t.notOk(hidden.some((text) => told.includes(text)));
      nowhere("failed");
    },
  );

  const second = newValue();
  hide(second);
  await t.test("set while n1 has no power: it has the new one before it starts", async (t) => {
    await n1.powerCut();
    const away = await set(n2, "password", `${second}\n`);
    t.match(away, { status: 0, stdout: /is set on n2\nn1 does not answer: it takes this when it is back/ });
    await life.boot(n1);
    await n1.holdfast(["start", "db"]);
    await mirror.settled("SECOND", "PRIM");
    t.same(await list(n1), { later: both, password: both, tls_key: both });
    await n2.holdfast(["swap", "db"]);
    await mirror.settled("PRIM", "SECOND");
    t.equal(record("n1.read").at(-1), `${hash(second)} ${hash(TLS_KEY)}`);
    t.match(
      (await n1.holdfast(["log", "db", "--lines", "200"])).stdout,
      /Secret password of db came from n2/,
    );
  });

  await t.test(
    "a daemon is killed in the middle: the old value or the new, on both nodes the same",
    async (t) => {
      let last = second;
      for (const delayMs of [0, 10]) {
        const next = newValue();
        hide(next);
        const file = join(n2.on.path(n2.varDir), "secrets");
        const before = statSync(file).mtimeMs;
        const setting = n2.holdfast(["secret", "set", "db", "password"], { input: next, mayFail: true });
        await until("it is being written", () => statSync(file).mtimeMs !== before, 20_000, 1);
        await Bun.sleep(delayMs);
        n2.signal(life.pidOf(n2, "daemon"), "SIGKILL");
        await n2.startDaemon();
        const { status } = await setting;
        await until(
          "both have the same",
          async () => Bun.deepEquals((await list(n1))["password"], both),
          20_000,
        );
        const values = [n1, n2].map((node) => {
          const store = new SecretStore(node.on.path(node.varDir), node.name);
          t.same(store.troubles, []);
          return Buffer.from(store.values("db", ["password"])["password"]!).toString();
        });
        t.equal(values[0], values[1], `killed after ${delayMs} ms (status ${status}): the same`);
        t.ok(values[0] === last || values[0] === next, values[0] === next ? "the new one" : "the old one");
        if (status === 0) t.equal(values[0], next, "what was said to be set is set");
        last = values[0]!;
        await mirror.settled("PRIM", "SECOND");
      }
      nowhere("killed");
    },
  );

  await t.test("in no history, no export, no snapshot; gone when it is removed, and missed", async (t) => {
    const history = await n1.exec([
      ...["git", "-C", `${n1.varDir}/modules/db`, "cat-file", "--batch", "--batch-all-objects", "--buffer"],
    ]);
    t.match(history.stdout, /secrets: \[password, tls_key\]/);
    await n1.holdfast(["module", "export", "db", `${bed.dir}/db.hf`]);
    await n1.exec(["git", "clone", "-q", `${bed.dir}/db.hf`, `${bed.dir}/clone`]);
    t.same(filesWithSecrets(`${bed.dir}/clone`), []);
    t.notOk(hidden.some((text) => history.stdout.includes(text)));
    await n1.holdfast(["snapshot", `${bed.dir}/db.snapshot`]);
    const snapshot = gunzipSync(readFileSync(`${bed.dir}/db.snapshot`)).toString();
    t.match(snapshot, /logging in with \*\*\*/);
    t.notOk(hidden.some((text) => snapshot.includes(text)));
    const removed = await n1.holdfast(["secret", "remove", "db", "password"]);
    t.match(removed.stdout, /password of db is removed on n1, n2\n.*does not start without a value/);
    t.match(await life.status(n1), { state: "PRIM", remedy: "holdfast secret set db password" });
    const restart = await n1.holdfast(["restart", "db"], { mayFail: true });
    t.match(restart, { status: 1, stderr: /db stays PRIM on n1: the secret password has no value/ });
  });

  const third = newValue();
  hide(third);
  await t.test(
    "a node boots without a value: no hook runs before it is there, then it starts by itself",
    async (t) => {
      const ran = record("n1.prestart").length;
      await n1.powerCut();
      await life.boot(n1);
      await until(
        "n1 says why",
        async () => (await life.status(n1)).remedy === "holdfast secret set db password",
      );
      t.match(await life.status(n1), { state: "STOP", reason: /the secret password has no value on n1/ });
      t.equal(record("n1.prestart").length, ran, "no hook has run");
      t.match(await set(n2, "password", third), { status: 0 });
      await until("n1 starts", () => record("n1.prestart")[ran] === "transition", 20_000);
      t.not((await life.status(n1)).state, "STOP");
    },
  );

  await t.test("gone with the module", async (t) => {
    await n1.holdfast(["stop", "db", "--all"]);
    await mirror.settled("STOP", "STOP");
    await n1.holdfast(["module", "remove", "db", "--all"]);
    t.same(await list(n1), {});
    for (const node of [n1, n2]) {
      const file = join(node.on.path(node.varDir), "secrets", "db.json");
      t.notMatch(readFileSync(file, "utf8"), /sealed/, `${node.name} holds nothing sealed any more`);
      t.same(filesWithSecrets(node.on.path("/run")), []);
    }
    nowhere("removed");
  });
});
