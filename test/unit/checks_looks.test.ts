/** Single looks of checkers at their subjects: real sockets, files and processes. */
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { diskProbe } from "../../core/checks/probes/disk.ts";
import { httpProbe } from "../../core/checks/probes/http.ts";
import { processProbe } from "../../core/checks/probes/process.ts";
import { serviceProbe } from "../../core/checks/probes/service.ts";
import { tcpProbe } from "../../core/checks/probes/tcp.ts";
import { Journal } from "../../core/daemon/journal.ts";
import { ModuleResources } from "../../core/daemon/module/resources.ts";
import { watchDeath } from "../../core/platform/linux/process_death.ts";
import { runChecker } from "../../hooks/checker_runner.ts";

const directory = realpathSync(mkdtempSync(join(tmpdir(), `holdfast-looks-${process.pid}-`)));
t.teardown(() => rmSync(directory, { recursive: true }));

t.test("a look at a port ends when its time is over, so that the next one can begin", async (t) => {
  const limit = new AbortController();
  const look = tcpProbe("127.0.0.1:9").look(limit.signal);
  limit.abort();
  t.match(await look, { state: "down", detail: /does not answer/ });
});

t.test("an answer over http: by its status, and by what it says", async (t) => {
  using server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: ({ url }) => {
      const { pathname } = new URL(url);
      if (pathname === "/away") return Response.redirect("/missing", 302);
      if (pathname === "/late") return new Response(`${"x".repeat(2 << 20)}ready`);
      return new Response("is ready", { status: Number(pathname.slice(1)) });
    },
  });
  const look = (path: string, more: { status?: number[]; body?: string } = {}) => {
    const { status, body } = more;
    const url = `http://127.0.0.1:${server.port}${path}`;
    return httpProbe({ type: "http", url, status, body, verify: true }).look(new AbortController().signal);
  };
  t.match(await look("/200"), { state: "up", detail: "200" });
  t.match(await look("/503"), { state: "down", detail: / answers 503 Service Unavailable$/ });
  t.match(await look("/404", { status: [401, 404] }), { state: "up" });
  t.match(await look("/200", { status: [401, 404] }), { state: "down" });
  t.match(await look("/away"), { state: "up", detail: "302" }, "a redirection is an answer, not followed");
  t.match(await look("/200", { body: "^is ready$" }), { state: "up" });
  t.match(await look("/200", { body: "^ready" }), { state: "down", detail: /does not match \^ready/ });
  t.match(
    await look("/late", { body: "ready" }),
    { state: "down" },
    "what comes after the first MiB does not count",
  );
});

t.test("a look over http asks the server itself, whatever proxy the daemon was started with", async (t) => {
  using server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("") });
  const url = `http://127.0.0.1:${server.port}/`;
  const probe = httpProbe({ type: "http", url, status: undefined, body: undefined, verify: true });
  const former = process.env["http_proxy"];
  // Nobody is there.
  process.env["http_proxy"] = "http://127.0.0.1:9";
  t.teardown(() => {
    if (former === undefined) delete process.env["http_proxy"];
    else process.env["http_proxy"] = former;
  });
  t.match(await probe.look(new AbortController().signal), { state: "up", detail: "200" });
});

t.test(
  "a look that writes to a disk writes to its own file, whatever a user has put in its place",
  async (t) => {
    const other = join(directory, "other");
    const probe = join(directory, ".holdfast-disk-check");
    writeFileSync(other, "somebody else's");
    symlinkSync(other, probe);
    const look = diskProbe({ type: "disk", path: directory, minFree: 0, write: true });
    t.match(await look.look(new AbortController().signal), { state: "up" });
    t.equal(readFileSync(other, "utf8"), "somebody else's");
    t.notOk(existsSync(probe), "nothing is left");
  },
);

function check(name: string, kind: "typescript" | "executable", source: string) {
  const file = join(directory, name);
  writeFileSync(file, source, { mode: 0o755 });
  return runChecker({
    file,
    kind,
    context: {
      module: "db",
      node: "n1",
      kind: "light",
      hook: "custom.db",
      action: "check",
      from: "UP",
      to: "UP",
      cause: "",
      force: false,
      attempt: 1,
      vars: {},
      dir: directory,
      peers: [],
    },
    timeoutMs: 20_000,
    onOutput: () => undefined,
    signal: new AbortController().signal,
  });
}

t.test("a checker's answer counts, however much it has printed or says", async (t) => {
  const loud =
    'export default () => { console.log("x".repeat(300_000)); return { state: "down", detail: "sick" }; };';
  t.same(await check("loud.ts", "typescript", loud), { state: "down", detail: "sick" });
  const wordy = 'export default () => ({ state: "down", detail: "w".repeat(300_000) });';
  t.match(await check("wordy.ts", "typescript", wordy), { state: "down", detail: /^w{300}$/ });
});

t.test("what a checker leaves running keeps no descriptor of the daemon open", async (t) => {
  /** Pipes and sockets. What a child got on its standard input goes with the next collection of garbage: of the tests before this one, too. */
  const open = (): number => {
    Bun.gc(true);
    return readdirSync("/proc/self/fd").filter((fd) => {
      try {
        return /^(pipe|socket):/.test(readlinkSync(`/proc/self/fd/${fd}`));
      } catch {
        return false; // That with which the directory was read.
      }
    }).length;
  };
  const source = "#!/bin/sh\nsleep 30 &\necho $! >pid\necho fine\n";
  const before = open();
  t.same(await check("leaves.sh", "executable", source), { state: "up", detail: "fine" });
  for (let tries = 0; tries < 100 && open() > before; tries++) await Bun.sleep(5);
  const after = open();
  process.kill(Number(readFileSync(join(directory, "pid"), "utf8")));
  t.ok(after <= before, `${after} are open, ${before} were`);
});

t.test("where systemd does not answer, a service whose main process lives is not down", async (t) => {
  const child = Bun.spawn(["sleep", "100"]);
  let answers = true;
  const ask = async () => {
    if (!answers) throw new Error("systemctl show failed with status 1: Connection reset by peer");
    return { activeState: "active", mainPid: child.pid, controlGroup: "" };
  };
  const { promise: noticed, resolve: notice } = Promise.withResolvers<void>();
  const { look, close } = serviceProbe("db", notice, ask);
  const { signal } = new AbortController();
  t.match(await look(signal), { state: "up", detail: `pid ${child.pid}` });
  answers = false;
  t.match(await look(signal), { state: "unknown", detail: /Connection reset by peer/ });
  child.kill("SIGKILL");
  await noticed;
  await t.rejects(look(signal), /Connection reset by peer/, "one that has ended is down");
  close?.();
});

t.test(
  "a process that ends is looked after where it was one too few or too many, and only there",
  async (t) => {
    // Nobody else's are called like this.
    const seconds = `10${process.pid}`;
    const sleep = () => Bun.spawn(["sleep", seconds]);
    const { signal } = new AbortController();
    let notices = 0;
    const probeOf = (min: number, max?: number) =>
      processProbe(
        {
          type: "process",
          regex: undefined,
          argumentsRegex: `^sleep ${seconds}$`,
          pidFile: undefined,
          unit: undefined,
          min,
          max,
        },
        () => [],
        () => notices++,
      );
    const end = async (child: ReturnType<typeof sleep>): Promise<void> => {
      child.kill("SIGKILL");
      await child.exited;
      await Bun.sleep(200);
    };
    const all = [sleep(), sleep(), sleep(), sleep()];
    t.teardown(() => {
      for (const child of all) child.kill("SIGKILL");
    });
    await Bun.sleep(200);
    const crowd = probeOf(0, 3);
    t.match(await crowd.look(signal), { state: "down", detail: /^4 of .* at most should/ });
    await end(all[0]!);
    t.equal(notices, 1, "of too many one has gone");
    crowd.close?.();
    const pair = probeOf(2);
    t.match(await pair.look(signal), { state: "up", detail: "3 processes" });
    await end(all[1]!);
    t.equal(notices, 1, "a server ends one of its processes with each connection: enough are left");
    await end(all[2]!);
    t.equal(notices, 2);
    t.match(await pair.look(signal), { state: "down" });
    pair.close?.();
  },
);

t.test("what lives and cannot be watched has not ended", async (t) => {
  const thread = readdirSync("/proc/self/task")
    .map(Number)
    .find((id) => id !== process.pid)!;
  t.not(
    watchDeath(thread, () => undefined),
    null,
  );
  const child = Bun.spawn(["true"]);
  await child.exited;
  t.equal(
    watchDeath(child.pid, () => undefined),
    null,
  );
});

t.test("to forget a resource that nobody knows is no news", async (t) => {
  const news: string[] = [];
  const journal = new Journal(join(directory, "log"), "n1");
  const resources = new ModuleResources(journal, (name, state) => void news.push(`${name} ${state}`));
  resources.forget("probe.port");
  t.same(news, []);
  resources.note("probe.port", "up", "");
  resources.forget("probe.port");
  t.same(news, ["probe.port up", "probe.port unknown"]);
  // The log is written behind our back, into a directory that is removed in the end.
  for (const log = join(directory, "log", "module.log"); !existsSync(log); ) await Bun.sleep(5);
});
