/** The SDK: commands, waiting, services. */
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { familyOf } from "../../hooks/process_tree.ts";
import { $, CommandError, retry, secret, service, waitFor } from "../../hooks/sdk/mod.ts";

const directory = realpathSync(mkdtempSync(join(tmpdir(), `holdfast-sdk-${process.pid}-`)));
t.teardown(() => rmSync(directory, { recursive: true }));

t.test("$ quotes every value, whatever is in it", async (t) => {
  for (const value of ["a b", "it's", "$(id)", "`id`", "; rm -rf x", "*", "-n", "", "\n", "ü", "a\\b", '"'])
    t.equal(await $`printf %s ${value}`.text(), value.replace(/\n$/, ""), JSON.stringify(value));
  t.same(await $`printf '%s\n' ${["a b", "c"]} ${5}`.lines(), ["a b", "c", "5"]);
  t.equal(await $`echo ${$`printf x`}`.text(), "printf x");
  t.throws(() => $`echo ${"a\0b"}`, { message: /NUL/ });
});

t.test("$ fails clearly, and only then", async (t) => {
  await t.rejects(async () => await $`echo out; echo "no such table" >&2; exit 3`.quiet(), {
    name: "CommandError",
    exitCode: 3,
    stdout: "out\n",
    message: /^`echo out; .*` failed with exit status 3: no such table$/,
  });
  const result = await $`exit 4`.nothrow();
  t.equal(result.exitCode, 4);
  await t.rejects(async () => await $`kill -9 $$`.quiet(), {
    exitCode: 137,
    message: /was killed by SIGKILL/,
  });
  await t.rejects(async () => await $`no_such_command_here`.quiet(), { exitCode: 127, message: /not found/ });
  t.equal(await $`false`.catch(() => "caught"), "caught");
  const once = $`echo x >> ${join(directory, "once")}`;
  await once;
  await once;
  t.equal(readFileSync(join(directory, "once"), "utf8"), "x\n", "awaited twice, run once");
});

t.test(
  "$ ends at its time limit with what it started, and does not wait for what holds its output",
  async (t) => {
    const started = performance.now();
    await t.rejects(
      async () =>
        await $`sleep 300 & echo $! > ${join(directory, "pid")}; sleep 300`.quiet().timeout("300ms"),
      CommandError,
    );
    const pid = Number(readFileSync(join(directory, "pid"), "utf8"));
    t.notOk(familyOf(pid, null).includes(pid), "the child in the background is dead");
    t.equal(await $`sleep 2 & echo now`.text(), "now");
    t.ok(performance.now() - started < 1900);
    await t.rejects(async () => await $`true`.timeout("5"), { message: /has no unit/ });
  },
);

t.test("$ takes a directory, variables and input", async (t) => {
  t.equal(await $`pwd`.cwd(directory).text(), directory);
  t.equal(await $`echo $X $Y`.env({ X: "1" }).env({ Y: "2" }).text(), "1 2");
  t.equal(await $`cat`.input("typed").text(), "typed");
  t.equal(await $`cat`.text(), "");
});

t.test("$ joins commands by pipes, and a failure of any part is one", async (t) => {
  t.equal(await $`printf 'b\na\n'`.pipe($`sort`).text(), "a\nb");
  t.equal(await $`cat`.input("x").pipe($`tr x y`).pipe($`sed ${"s/$/!/"}`).text(), "y!");
  t.equal(
    await $`echo $A $B`
      .env({ A: "1" })
      .pipe($`cat; echo $B`.env({ B: "2" }))
      .text(),
    "1 2\n2",
  );
  t.equal(await $`yes`.pipe($`head -1`).text(), "y", "what was not read to its end has not failed");
  await t.rejects(async () => await $`echo a; exit 3`.pipe($`cat`).quiet(), {
    exitCode: 3,
    message: "`echo a; exit 3 | cat` failed with exit status 3",
  });
  await t.rejects(async () => await $`true`.pipe($`exit 4`).quiet(), {
    exitCode: 4,
    message: /exit status 4/,
  });
  await t.rejects(async () => await $`exit 5`.pipe($`true`).pipe($`cat`).quiet(), {
    exitCode: 5,
    message: /exit status 5/,
  });
  t.same(await $`echo '{"a":[1]}'`.json(), { a: [1] });
  await t.rejects($`echo no`.json(), { name: "SyntaxError" });
  t.equal(await $`od -An -tx1`.input(new Uint8Array([0, 255])).text(), " 00 ff");
});

t.test("waitFor waits until its deadline, and says why in vain", async (t) => {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  await waitFor.tcp(port);
  await waitFor.tcp(`127.0.0.1:${port}`);
  await new Promise((resolve) => server.close(resolve));
  const brief = { timeout: "300ms", interval: "50ms" };
  await t.rejects(waitFor.tcp(port, brief), { message: /^waited 300ms for 127\.0\.0\.1:\d+: / });
  await t.rejects(waitFor.http(`http://127.0.0.1:${port}/`, brief), { message: /waited 300ms for http/ });
  await t.rejects(waitFor.file(join(directory, "never"), brief), { message: /it is not there/ });
  await t.rejects(waitFor.process(/no-such-process-anywhere/, brief), { message: /none runs/ });
  const sleeper = Bun.spawn(["sleep", "299.25"]);
  await waitFor.process(/^sleep 299\.25/);
  await t.rejects(waitFor.process(/^sleep 299\.25/, { ...brief, gone: true }), { message: /it still runs/ });
  sleeper.kill();
  await waitFor.process(/^sleep 299\.25/, { gone: true });
  await t.rejects(
    waitFor(() => false, { ...brief, what: "the moon" }),
    { message: "waited 300ms for the moon: not yet" },
  );
  await t.rejects(
    waitFor(() => {
      throw new Error("why");
    }, brief),
    { message: /why/ },
  );
  await t.rejects(async () => await waitFor.tcp("nonsense"), { message: /is not an address and a port/ });
  const web = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("x", { status: 404 }) });
  await waitFor.http(web.url.href, { status: 404 });
  await t.rejects(waitFor.http(web.url.href, brief), { message: /status 404/ });
  await web.stop(true);
  setTimeout(() => writeFileSync(join(directory, "soon"), ""), 100);
  await waitFor.file(join(directory, "soon"), { interval: "20ms" });
});

t.test("retry gives the result, or the last error", async (t) => {
  let calls = 0;
  const flaky = (n: number) => {
    calls++;
    if (n < 3) throw new Error(`attempt ${n}`);
    return n;
  };
  t.equal(await retry(flaky, { delay: "1ms" }), 3);
  await t.rejects(retry(flaky, { attempts: 2, delay: "1ms" }), { message: "attempt 2" });
  t.equal(calls, 5);
});

t.test("a service with a pid file starts, stops and is harmless to repeat", async (t) => {
  const pidFile = join(directory, "daemon.pid");
  const daemon = service("daemon", { pidFile, start: `sleep 300 & echo $! > ${pidFile}`, timeout: "2s" });
  t.equal(await daemon.isActive(), false);
  await daemon.stop();
  await daemon.start();
  const pid = readFileSync(pidFile, "utf8");
  await daemon.start();
  t.equal(readFileSync(pidFile, "utf8"), pid);
  t.equal(await daemon.status(), "active");
  await daemon.restart();
  t.not(readFileSync(pidFile, "utf8"), pid);
  await daemon.stop();
  t.equal(await daemon.isActive(), false);
  const deaf = service("deaf", {
    pidFile,
    start: $`sh -c 'trap "" TERM; echo $$ > ${pidFile}; while :; do sleep 1; done' &`,
    timeout: "400ms",
  });
  await deaf.start();
  await Bun.sleep(100);
  await t.rejects(deaf.stop(), { message: /waited 400ms for the end of deaf/ });
  await deaf.stop({ force: true });
  t.equal(await deaf.isActive(), false);
  t.throws(() => service("a b"), { message: /is not a service's name/ });
});

t.test("a secret comes from this run's directory alone", async (t) => {
  t.throws(() => secret("db_password"), { message: /holdfast secret set/ });
  process.env["HOLDFAST_SECRETS"] = directory;
  t.teardown(() => delete process.env["HOLDFAST_SECRETS"]);
  writeFileSync(join(directory, "db_password"), "s3cret\n", { mode: 0o400 });
  t.equal(secret("db_password"), "s3cret");
  t.throws(() => secret("../shadow"), { message: /is not a secret's name/ });
  t.throws(() => secret("other"), { message: /was not handed to this run/ });
});
