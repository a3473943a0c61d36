/** The API over the Unix socket and between two nodes: create, token, join, commands here, there and everywhere. */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import {
  type ApiHost,
  apiSocket,
  callNode,
  createApi,
  type LocalApi,
  localApi,
  serveLocal,
  serveMembers,
} from "../../core/api/api.ts";
import { type Cluster, loadCluster } from "../../core/cluster/cluster.ts";
import type { CommandResult, LogLine, StatusDocument } from "../../core/daemon/engine.ts";
import { MemoryEngine } from "./memory_engine.ts";

const directory = mkdtempSync(join(tmpdir(), "api-"));
const port = 20_000 + (process.pid % 20_000);
const subnet = `127.${1 + (process.pid % 250)}.8`;
const yaml = `name: api
nodes:
  n1: { addresses: { absent: ${subnet}.101, lan: ${subnet}.1 } }
  n2: { addresses: { absent: { address: ${subnet}.102, bind: ${subnet}.202 }, lan: ${subnet}.2 } }
  n3: { addresses: { absent: ${subnet}.103, lan: ${subnet}.3 } }
port: ${port}
`;

interface TestNode {
  host: ApiHost;
  engine: MemoryEngine | null;
  api: LocalApi;
  close(): void;
}

/** A node as the daemon wires it: local API at once, members' API when it belongs to a cluster. */
async function startNode(name: string): Promise<TestNode> {
  const varDir = join(directory, name);
  let cluster: Cluster | null = null;
  let members: { close(): void } | null = null;
  const node: TestNode = {
    engine: null,
    host: {
      varDir,
      engine: () => node.engine,
      cluster: () => cluster,
      takeClusterYaml: async () => {},
      settleClusterYaml: async () => true,
      clusterChanged: async () => {
        cluster = loadCluster(varDir);
        node.engine = new MemoryEngine(name, cluster!.name);
        members ??= serveMembers(cluster!, api, () => {});
      },
      heartbeats: () => ({ hears: { lan: [] }, troubles: {}, counters: {} }),
      clockStep: () => null,
    },
    api: localApi(varDir),
    close: () => {
      local.close();
      members?.close();
    },
  };
  const api = createApi(node.host);
  const local = await serveLocal(varDir, api);
  return node;
}

const n1 = await startNode("n1");
const n2 = await startNode("n2");
t.teardown(() => {
  n1.close();
  n2.close();
  rmSync(directory, { recursive: true, force: true });
});
const result = async (
  api: LocalApi,
  method: string,
  path: string,
  body?: unknown,
  target?: { node?: string; all?: boolean },
): Promise<CommandResult> => (await api.call(method, path, body, target)).body as CommandResult;

t.test("the socket is its owner's, and one daemon's", async (t) => {
  t.equal(statSync(apiSocket(join(directory, "n1"))).mode & 0o777, 0o600);
  t.equal(statSync(join(directory, "n1", "run")).mode & 0o777, 0o700);
  await t.rejects(serveLocal(join(directory, "n1"), createApi(n1.host)), /another daemon/);
  await t.rejects(localApi(join(directory, "nowhere")).call("GET", "/status"), {
    status: 3,
    message: /--var/,
  });
});

t.test("before it belongs to a cluster a node says how to", async (t) => {
  for (const path of ["/status", "/modules", "/cluster", "/cluster/state"])
    t.match(await result(n1.api, "GET", path), { status: 1, message: /cluster create/ });
  t.match(await result(n1.api, "GET", "/status", undefined, { all: true }), { status: 1 });
});

t.test("create, token, join", async (t) => {
  const wrong = await result(n1.api, "POST", "/cluster/create", {
    yaml: yaml.replace("port:", "prt:"),
    node: "n1",
    file: "/etc/c.yaml",
  });
  t.match(wrong, { status: 2, message: /\/etc\/c\.yaml:\d+:\d+: prt/ });
  t.match(await result(n1.api, "POST", "/cluster/create", { yaml: yaml, node: "n1" }), {
    status: 0,
    data: { cluster: "api", node: "n1" },
  });
  t.match(await result(n1.api, "POST", "/cluster/create", { yaml: yaml, node: "n1" }), {
    status: 1,
    message: /already belongs/,
  });
  const { data } = await result(n1.api, "POST", "/cluster/token", {});
  const { token } = data as { token: string };
  t.match(await result(n2.api, "POST", "/cluster/join", { token, node: "n2" }), {
    status: 0,
    data: { cluster: "api", node: "n2" },
  });
  t.match(await result(n2.api, "GET", "/cluster"), {
    node: "n2",
    lans: ["absent", "lan"],
    nodes: { n1: { number: 1 }, n2: { number: 2 } },
  });
});

t.test("commands here, there and everywhere", async (t) => {
  const commit = "a".repeat(40);
  t.match(await result(n1.api, "POST", "/modules/db/apply", { commit }), { status: 0 });
  const offer = { commit, pack: null, number: 1, dryRun: false };
  t.match(await callNode(n1.host.cluster()!, "n2", "POST", "/modules/db/prepare", offer), { status: 0 });
  t.match(await callNode(n1.host.cluster()!, "n2", "POST", "/modules/db/activate", { commit }), {
    status: 0,
    message: `db ${commit} of n1`,
  });
  t.match(await result(n1.api, "POST", "/modules/db/prepare", offer), {
    status: 2,
    message: /only another node/,
  });
  t.match(await result(n1.api, "POST", "/modules/db/abandon", { commit }, { node: "n2" }), { status: 0 });
  t.match(await result(n1.api, "POST", "/modules/db/revision", { haves: [commit] }, { node: "n2" }), {
    status: 0,
    message: commit,
  });
  t.match(await result(n1.api, "POST", "/modules/db/command", { command: "prim", force: true }), {
    status: 0,
    message: "db is ALONE",
  });
  t.match(await result(n1.api, "POST", "/modules/db/command", { command: "second" }, { node: "n2" }), {
    status: 0,
    message: "db is SECOND",
  });
  t.match(n2.engine?.modulesByName.get("db")?.by, /\(from n1\)$/);
  const all = (await n1.api.call("GET", "/status", undefined, { all: true })).body as StatusDocument;
  t.equal(all.modules["db"]!.nodes["n1"]!.state, "ALONE");
  t.equal(all.modules["db"]!.nodes["n2"]!.state, "SECOND");
  const everywhere = await result(n1.api, "POST", "/modules/db/command", { command: "stop" }, { all: true });
  t.equal(everywhere.status, 0);
  t.strictSame(everywhere.data, {
    n1: { status: 0, message: "db is STOP" },
    n2: { status: 0, message: "db is STOP" },
  });
  const shutdown = await result(n1.api, "POST", "/shutdown", undefined, { all: true });
  t.equal(shutdown.status, 3, "n3, where db does not live, never joined");
  t.match(shutdown.data, { n1: { status: 0 }, n2: { status: 0 }, n3: { status: 3 } });
  t.match(await result(n1.api, "GET", "/modules", undefined, { all: true }), {
    data: { n1: { data: [{ name: "db" }] } },
  });
  t.match(await result(n1.api, "POST", "/modules/none/command", { command: "stop" }, { node: "n2" }), {
    status: 2,
    message: /no module none on n2/,
  });
  t.match(await result(n1.api, "GET", "/status", undefined, { node: "n9" }), {
    status: 2,
    message: /no node n9/,
  });
  t.match(await callNode(n1.host.cluster()!, "n3", "GET", "/status"), {
    status: 3,
    message: /n3 does not answer: its machine is there, but no daemon/,
  });
});

t.test("wait, verify, boot, apply, explain, shutdown", async (t) => {
  t.match(await result(n1.api, "POST", "/modules/db/wait", { states: ["PRIM"], timeoutMs: 50 }), {
    status: 4,
  });
  const waiting = result(
    n1.api,
    "POST",
    "/modules/db/wait",
    { states: ["PRIM"], timeoutMs: 5000 },
    { node: "n2" },
  );
  await Bun.sleep(50);
  await result(n2.api, "POST", "/modules/db/command", { command: "start" });
  t.match(await waiting, { status: 0, message: "db is PRIM" });
  t.match(await result(n1.api, "POST", "/modules/db/verify"), { status: 0 });
  t.match(await result(n1.api, "POST", "/modules/db/boot", { value: "never" }), { status: 0 });
  t.match(await result(n1.api, "POST", "/modules/db/apply", { commit: "b".repeat(40), dryRun: true }), {
    status: 0,
    message: /^b+ is valid$/,
  });
  t.match(await result(n1.api, "GET", "/modules/db/explain?at=x"), { status: 0, message: "explained at x" });
  t.match(await result(n1.api, "POST", "/shutdown"), { status: 0 });
  t.match(await result(n1.api, "DELETE", "/modules/db"), { status: 0 });
  t.match(await result(n1.api, "DELETE", "/modules/db"), { status: 2 });
});

t.test("a followed log ends when its reader goes", async (t) => {
  n1.engine!.say("one");
  n2.engine!.say("two");
  const once = (await Array.fromAsync(n1.api.stream("/log?lines=1", { all: true }))) as LogLine[];
  t.same(new Set(once.map(({ text }) => text.split(":")[0])), new Set(["one", "two", "no log of n3"]));
  const gone = new AbortController();
  const seen: string[] = [];
  const following = (async () => {
    try {
      for await (const line of n1.api.stream("/log?lines=0&follow=true", { all: true }, gone.signal))
        seen.push((line as LogLine).text);
    } catch (error) {
      if (!gone.signal.aborted) throw error;
    }
  })();
  for (let i = 0; i < 100 && n1.engine!.followers + n2.engine!.followers < 2; i++) await Bun.sleep(20);
  n2.engine!.say("from afar");
  for (let i = 0; i < 100 && !seen.includes("from afar"); i++) await Bun.sleep(20);
  t.ok(seen.includes("from afar"));
  gone.abort();
  await following;
  for (let i = 0; i < 100 && n1.engine!.followers + n2.engine!.followers > 0; i++) await Bun.sleep(20);
  t.equal(n1.engine!.followers + n2.engine!.followers, 0);
});

t.test("every input is checked", async (t) => {
  const refused = async (method: string, path: string, body?: unknown) => {
    const { httpStatus, body: answer } = await n1.api.call(method, path, body);
    t.match(answer, { status: 2, message: /\S/ }, `${method} ${path}`);
    t.ok(httpStatus === 400 || httpStatus === 404);
  };
  await refused("POST", "/modules/db/command", { command: "explode" });
  await refused("POST", "/modules/db/command", { command: "start", extra: 1 });
  await refused("POST", "/modules/db/command");
  await refused("POST", "/modules/..%2Fdb/command", { command: "start" });
  await refused("POST", `/modules/${"x".repeat(5000)}/command`, { command: "start" });
  await refused("POST", "/modules/db/wait", { states: [], timeoutMs: 1 });
  await refused("POST", "/modules/db/wait", { states: ["PRIM"], timeoutMs: -1 });
  await refused("POST", "/modules/db/boot", { value: "sometimes" });
  await refused("POST", "/modules/db/apply", { commit: "main" });
  await refused("POST", "/modules/db/activate", { commit: "../../x" });
  await refused("POST", "/modules/db/revision", { haves: ["--all"] });
  await refused("GET", "/log?lines=many");
  await refused("GET", "/nothing");
  await refused("POST", "/cluster/join", { token: "x".repeat(100_000), node: "n1" });
});

t.test("cluster state asks every node", async (t) => {
  t.match(await result(n1.api, "GET", "/cluster/state"), {
    name: "api",
    node: "n1",
    nodes: {
      n1: { reachable: true },
      n2: { reachable: true, heartbeats: { hears: { lan: [] } } },
      n3: { reachable: false },
    },
  });
});

t.test("members cannot do what is the administrator's", async (t) => {
  const cluster = n1.host.cluster()!;
  for (const [path, body] of [
    ["/cluster/token", {}],
    ["/cluster/join", { token: "t", node: "n2" }],
    ["/cluster/create", { yaml: "", node: "n2" }],
    ["/modules/db/apply", { commit: "a".repeat(40) }],
    ["/shutdown?node=n1", {}],
  ] as const)
    t.match(await callNode(cluster, "n2", "POST", path, body), { status: 2 }, path);
});
