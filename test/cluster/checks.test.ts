/**
 * Checkers on real causes, with real nodes: a killed process, a closed port, a server that is stopped and accepts but never answers, a checker that
 * throws or hangs; then the cause removed. What each leads to, and what `status` and `resources` tell.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { NodeStatus, StatusDocument } from "../../core/daemon/engine.ts";
import { createMirror, type Mirror } from "./mirror.ts";
import { type Node, testbedImpossible, until } from "./testbed.ts";

const skip = testbedImpossible() ?? false;
t.setTimeout(400_000);

const SERVER = `const fetch = () => new Response("all is well");
Bun.serve({ port: 8080, hostname: "127.0.0.1", fetch });
const tls = { cert: Bun.file(import.meta.dir + "/tls.crt"), key: Bun.file(import.meta.dir + "/tls.key") };
Bun.serve({ port: 8443, hostname: "127.0.0.1", fetch, tls });`;
/** Serves until it is killed. Its start hook writes its name down, so that restarts can be counted. */
const FILES = {
  "server.ts": SERVER,
  "hooks/start_prim": `#!/bin/bash
echo "start $HOLDFAST_NODE" >> RECORD/starts
exec -a checked-server ${process.execPath} $HOLDFAST_DIR/server.ts > /dev/null 2>&1 < /dev/null &
for i in $(seq 200); do (exec 3<>/dev/tcp/127.0.0.1/8080) 2>/dev/null && exit 0; sleep 0.02; done
exit 1
`,
  "hooks/stop_prim": "#!/bin/bash\npkill -KILL -f checked-server; exit 0\n",
  "checkers/orders.ts": `import { defineChecker } from "holdfast";
export default defineChecker(async () => {
  const order = await Bun.file("/run/holdfast-test-orders").text().catch(() => "");
  if (order === "throw") throw new Error("no orders table");
  if (order === "hang") await new Promise((resolve) => setTimeout(resolve, 100_000));
  return order === "down" ? { state: "down", detail: "3 orders are stuck" } : true;
});
`,
  "checkers/plain": "#!/bin/sh\necho looks at $1; test ! -e /run/holdfast-test-plain\n",
};
const YAML = `
processes:
  server: { argumentsRegex: "^checked-server", interval: 30s, action: none }
checkers:
  tcp: { port: { address: "127.0.0.1:8080", interval: 300ms, timeout: 1s, action: none } }
  http:
    page: { url: "http://127.0.0.1:8080/", body: "all is well", interval: 300ms, timeout: 500ms, failures: 2, action: none }
    tls: { url: "https://127.0.0.1:8443/", body: "^all is well$", verify: false, interval: 300ms, action: none }
    strict: { url: "https://127.0.0.1:8443/", interval: 300ms, grace: 0ms, action: none }
  custom:
    orders: { interval: 300ms, timeout: 1s, action: none }
    plain: { interval: 300ms, timeout: 2s, when: both, action: none }
`;

type Resources = NodeStatus["resources"];

async function resourcesOf(node: Node): Promise<Resources> {
  const { modules } = await node.json<StatusDocument>(["status"]);
  return modules["db"]!.nodes[node.name]!.resources;
}

/** Waits until the node's resources are in these states, and returns them. */
async function comeTo(node: Node, wanted: Record<string, string>): Promise<Resources> {
  let seen: Resources = {};
  await until(`${JSON.stringify(wanted)} on ${node.name}`, async () => {
    seen = await resourcesOf(node);
    return Object.entries(wanted).every(([name, state]) => seen[name]?.state === state);
  }).catch((error: Error) => {
    throw new Error(`${error.message}; it has ${JSON.stringify(seen)}`);
  });
  return seen;
}

const ALL_UP = {
  "process.server": "up",
  "tcp.port": "up",
  "http.page": "up",
  "http.tls": "up",
  "custom.orders": "up",
  "custom.plain": "up",
};

/** A certificate that its server has signed itself. */
function certificate(): Record<string, string> {
  const dir = mkdtempSync(join(tmpdir(), "holdfast-tls-"));
  const files = { "tls.crt": join(dir, "crt"), "tls.key": join(dir, "key") };
  const subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", files["tls.key"]];
  execFileSync("openssl", ["req", "-x509", ...key, ...subject, "-out", files["tls.crt"]], {
    stdio: "ignore",
  });
  const read = Object.entries(files).map(([name, file]) => [name, readFileSync(file, "utf8")]);
  rmSync(dir, { recursive: true });
  return Object.fromEntries(read) as Record<string, string>;
}

async function started(t: Test, yaml: string): Promise<Mirror> {
  // A daemon that is killed here is back before the guardian fences, also on a slow machine.
  const heartbeat = "{ interval: 200ms, timeout: 3s }";
  const files = { ...FILES, ...certificate() };
  const mirror = await createMirror({ yaml, files, heartbeat, replicate: false });
  t.teardown(() => mirror.bed.destroy());
  await mirror.start();
  return mirror;
}

t.test("what each checker finds, and finds again once the cause is gone", { skip }, async (t) => {
  const { n1, n2 } = await started(t, YAML);
  t.match(await comeTo(n1, ALL_UP), { "custom.plain": { detail: "looks at custom.plain" } });
  t.match(
    await comeTo(n1, { "http.strict": "down" }),
    { "http.strict": { detail: /self.signed|certificate/i } },
    "a certificate that nobody vouches for is no answer, unless the checker says so",
  );
  t.match(
    await comeTo(n2, { "custom.plain": "up" }),
    { "tcp.port": { state: "init" } },
    "SECOND looks at what it should",
  );
  const { pid } = n1.processes().find(({ command }) => command.startsWith("checked-server"))!;

  process.kill(pid, "SIGSTOP");
  const stopped = await comeTo(n1, { "http.page": "down", "tcp.port": "up", "process.server": "up" });
  t.match(
    stopped["http.page"],
    { detail: /^(no answer within 500ms|the last look still hangs)$/ },
    "a stopped server accepts, and never answers",
  );
  process.kill(pid, "SIGCONT");
  await comeTo(n1, ALL_UP);

  await n1.exec(["sh", "-c", "printf throw > /run/holdfast-test-orders; touch /run/holdfast-test-plain"]);
  const bad = await comeTo(n1, { "custom.orders": "down", "custom.plain": "down" });
  t.match(bad, { "custom.orders": { detail: "no orders table" } });
  // On a busy machine a look may be too late first, which is a finding, too.
  await until("its exit status", async () =>
    (await resourcesOf(n1))["custom.plain"]!.detail?.startsWith("exit status 1"),
  );
  await n1.exec(["sh", "-c", "printf down > /run/holdfast-test-orders; rm /run/holdfast-test-plain"]);
  await until(
    "the checker's own words",
    async () => (await resourcesOf(n1))["custom.orders"]!.detail === "3 orders are stuck",
  );
  await n1.exec(["sh", "-c", "printf hang > /run/holdfast-test-orders"]);
  await until("the time limit's words", async () =>
    /^(no answer within 1s|the last look still hangs)$/.test(
      (await resourcesOf(n1))["custom.orders"]!.detail ?? "",
    ),
  );
  await n1.exec(["rm", "/run/holdfast-test-orders"]);
  await comeTo(n1, ALL_UP);

  process.kill(pid, "SIGKILL");
  const dead = await comeTo(n1, { "process.server": "down", "tcp.port": "down", "http.page": "down" });
  t.match(
    dead["process.server"],
    { detail: /^no process with arguments like/ },
    "long before its next look, in 30 s",
  );
  t.match(dead["tcp.port"], { detail: /ECONNREFUSED/ });
  await n1.holdfast(["restart", "db"]);
  await comeTo(n1, ALL_UP);

  const told = await n1.json<{ data: Record<string, { history: { state: string }[] }> }>(["resources", "db"]);
  t.same(
    told.data["process.server"]!.history.map(({ state }) => state),
    ["init", "up", "down", "init", "up"],
    "its history",
  );
  t.match((await n1.holdfast(["get", "db", "tcp.port"])).stdout, /^up\n/);
  t.match(
    (await n1.holdfast(["set", "db", "tcp.port", "down"], { mayFail: true })).stderr,
    /a checker sets tcp\.port/,
  );
});

t.test("a checker that is switched off stays off when the daemon comes back", { skip }, async (t) => {
  const { n1 } = await started(t, YAML);
  await comeTo(n1, ALL_UP);
  await n1.holdfast(["checker", "db", "off", "tcp.port"]);
  await comeTo(n1, { "tcp.port": "unknown", "http.page": "up" });
  await n1.holdfast(["set", "db", "tcp.port", "down"]);
  await comeTo(n1, { "tcp.port": "down" });
  const daemon = n1
    .processes()
    .find(({ command }) => / daemon --var/.test(command) && !command.startsWith("setsid"))!;
  process.kill(daemon.pid, "SIGKILL");
  await n1.startDaemon();
  await comeTo(n1, { "tcp.port": "unknown", "http.page": "up", "process.server": "up" });
  await n1.holdfast(["checker", "db", "on"]);
  await comeTo(n1, ALL_UP);
});
