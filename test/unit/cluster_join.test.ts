/** Joining a cluster, and everyone who must not: bad tokens, impostors, TLS clients without a certificate of ours. */
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import { connect as connectPlain } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import t, { type Test as Tap } from "tap";
import { type ApiHost, callNode, createApi, serveMembers } from "../../core/api/api.ts";
import {
  AUTHORITY_PATH,
  type Cluster,
  ConfigError,
  checkClusterChange,
  createCluster,
  createToken,
  forgetFormerTimeouts,
  joinCluster,
  loadCluster,
  replaceClusterYaml,
} from "../../core/cluster/cluster.ts";
import { formatToken, parseToken } from "../../core/cluster/join_token.ts";
import { timeoutsOf } from "../../core/daemon/module/heartbeat_timing.ts";
import type { ModuleDefinition } from "../../modules/load.ts";
import { MemoryEngine } from "./memory_engine.ts";

// Trap 36: what is in the environment of whoever starts a daemon must not choose whom it believes or whom it asks.
process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
for (const name of ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"])
  process.env[name] = "http://127.0.0.1:1";

const directory = mkdtempSync(join(tmpdir(), "join-"));
const port = 20_000 + (process.pid % 20_000);
const subnet = `127.${1 + (process.pid % 250)}.9`;
const yamlOf = (name: string, last: number) => `name: ${name}
nodes:
  n1: { addresses: { lan: ${subnet}.${last} } }
  n2: { addresses: { lan: ${subnet}.${last + 1} } }
port: ${port}
`;
const closing: { close(): void }[] = [];
t.teardown(() => {
  for (const one of closing) one.close();
  rmSync(directory, { recursive: true, force: true });
});

/** A member whose port answers. */
function serve(cluster: Cluster): MemoryEngine {
  const engine = new MemoryEngine(cluster.node, cluster.name);
  const host: ApiHost = {
    varDir: cluster.varDir,
    engine: () => engine,
    cluster: () => cluster,
    clusterChanged: async () => {},
    takeClusterYaml: async () => {},
    settleClusterYaml: async () => true,
    heartbeats: () => ({ hears: {}, troubles: {}, counters: {} }),
    clockStep: () => null,
  };
  closing.push(
    serveMembers(cluster, createApi(host), (address, error) => t.fail(`${address}: ${error.message}`)),
  );
  return engine;
}

const first = await createCluster(join(directory, "n1"), yamlOf("real", 1), "n1");
serve(first);
const other = await createCluster(join(directory, "other"), yamlOf("other", 5), "n1");
serve(other);
let draft = 0;
const fresh = () => join(directory, `new-${++draft}`);
/** Tries to join, and shows that nothing is left behind when it is refused. */
async function refused(t: Tap, token: string, node: string, message: RegExp): Promise<void> {
  const varDir = fresh();
  await t.rejects(joinCluster(varDir, token, node), { message });
  t.equal(loadCluster(varDir), null);
}

t.test("certificates last, name their node, and are good whatever the clock says", async (t) => {
  const authority = new X509Certificate(first.credentials.authority);
  const own = new X509Certificate(first.credentials.certificate);
  t.equal(own.subject, "CN=n1");
  t.ok(own.verify(authority.publicKey));
  for (const certificate of [authority, own]) {
    t.equal(Date.parse(certificate.validFrom), 0, "trap 25: a clock at zero");
    t.ok(Date.parse(certificate.validTo) > Date.now() + 20 * 365 * 86_400_000);
  }
  t.notOk(own.ca);
  t.ok(authority.ca);
});

t.test("secrets are files of mode 0600 in a directory of mode 0700", async (t) => {
  const cluster = join(directory, "n1", "cluster");
  t.equal(statSync(cluster).mode & 0o777, 0o700);
  for (const file of readdirSync(cluster)) t.equal(statSync(join(cluster, file)).mode & 0o777, 0o600, file);
  t.same(readdirSync(join(directory, "n1")), ["cluster"], "no draft is left");
});

t.test("a node joins, once, and is a member", async (t) => {
  const { token } = createToken(first);
  const second = await joinCluster(join(directory, "n2"), token, "n2");
  t.match(second, { name: "real", node: "n2", nodeNumber: 2, fingerprint: first.fingerprint });
  t.equal(second.replicationKey("db"), first.replicationKey("db"));
  t.not(second.replicationKey("db"), second.replicationKey("db2"));
  t.not(second.credentials.key, first.credentials.key);
  serve(second);
  t.match(await callNode(second, "n1", "GET", "/nothing"), { status: 2 });
  t.match(await callNode(first, "n2", "POST", "/shutdown"), { status: 0 });
  await refused(t, token, "n2", /used already/);
  await t.rejects(joinCluster(join(directory, "n2"), createToken(first).token, "n2"), {
    message: /already belongs/,
  });
  const { token: another } = createToken(second);
  await t.rejects(joinCluster(fresh(), another, "n2"), { message: /the node that you are joining/ });
  t.ok(await joinCluster(fresh(), another, "n1"), "any member lets in");
});

t.test("tokens that are refused", async (t) => {
  const { token } = createToken(first);
  for (let cut = 0; cut < token.length; cut += 7)
    t.throws(() => parseToken(token.slice(0, cut)), { name: "ClusterError" });
  for (let at = 4; at < token.length; at += 11) {
    const changed = token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
    t.throws(() => parseToken(changed), { message: /damaged/ });
  }
  const parts = parseToken(token);
  const bad = [
    { ...parts, addresses: [] },
    { ...parts, addresses: ["example.org"] },
    { ...parts, addresses: Array.from({ length: 100 }, () => "10.0.0.1") },
    { ...parts, port: 0 },
    { ...parts, port: 1e9 },
    { ...parts, secret: "" },
    { ...parts, fingerprint: "x".repeat(1000) },
    { ...parts, expires: -1 },
  ];
  for (const one of bad) t.throws(() => parseToken(formatToken(one)), { message: /damaged/ });
  for (const text of ["", "hf1.", "hf1.####", "x", "hf1.".repeat(10_000), "hf1.AAAAAAAAAAAAAAAA"])
    t.throws(() => parseToken(text), { name: "ClusterError" });
  await refused(t, token.slice(0, -3), "n2", /damaged/);
  await refused(
    t,
    formatToken({ ...parts, secret: Buffer.alloc(16).toString("base64url") }),
    "n2",
    /unknown here/,
  );
  await refused(t, createToken(first, -1).token, "n2", /expired/);
  await refused(t, token, "n7", /has no node n7 in its cluster.yaml \(nodes: n1, n2\)/);
  await refused(t, createToken(first).token, "x".repeat(70), /no join request/);
  writeFileSync(join(directory, "n1", "cluster", "tokens", "damaged"), "");
  await refused(t, createToken(other).token.slice(0, 10), "n2", /damaged/);
  t.ok(
    await joinCluster(fresh(), token, "n2"),
    "and the cluster still lets in who may: the token is good once",
  );
  await refused(t, token, "n2", /used already/);
  await refused(t, token, "n7", /used already/);
});

t.test("an impostor at the address learns no secret", async (t) => {
  const parts = parseToken(createToken(first).token);
  await refused(
    t,
    formatToken({ ...parts, addresses: [`${subnet}.5`] }),
    "n2",
    /does not fit the token's fingerprint/,
  );
  // It shows the real authority, which is public, but has no certificate from it.
  const asked: string[] = [];
  const { certificate, key } = other.credentials;
  const impostor = createServer({ cert: certificate, key }, (request, response) => {
    asked.push(request.url ?? "");
    response.end(first.credentials.authority);
  });
  await new Promise<void>((resolve) => impostor.listen(port, `${subnet}.77`, resolve));
  closing.push(impostor);
  await refused(t, formatToken({ ...parts, addresses: [`${subnet}.77`] }), "n2", /failed/);
  t.same(asked, [AUTHORITY_PATH]);
  await refused(
    t,
    formatToken({ ...parts, addresses: [`${subnet}.99`] }),
    "n2",
    /no address of the token answers/,
  );
  t.ok(
    await joinCluster(
      fresh(),
      formatToken({ ...parts, addresses: [`${subnet}.99`, ...parts.addresses] }),
      "n2",
    ),
    "a dead address first",
  );
});

/** Sends bytes over TLS as anyone may, and returns what came back before the end or the time-out. */
function speak(text: string, options: { cert?: string; key?: string } = {}): Promise<string> {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connect({ host: `${subnet}.1`, port, rejectUnauthorized: false, ...options }, () =>
      socket.write(text),
    );
    const end = (): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.on("data", (bytes) => {
      answer += String(bytes);
    });
    socket.on("error", end);
    socket.on("close", end);
    socket.setTimeout(3000, end);
  });
}

t.test("TLS clients without a certificate of this cluster", async (t) => {
  const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
  const clients = [{}, { cert: other.credentials.certificate, key: other.credentials.key }];
  for (const client of clients) {
    t.match(await speak(get("/api/status"), client), /^HTTP\/1\.1 401/);
    t.match(await speak(get("/api/cluster"), client), /^HTTP\/1\.1 401/);
    t.match(await speak(get("/probe"), client), /^HTTP\/1\.1 204/);
    t.match(
      await speak(
        "POST /api/shutdown HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        client,
      ),
      /^HTTP\/1\.1 401/,
    );
  }
  t.match(
    await callNode({ ...other, nodes: first.nodes }, "n1", "GET", "/status"),
    { status: 3 },
    "and a stranger does not believe us",
  );
  const removed = { ...first, credentials: { ...first.credentials }, nodes: first.nodes };
  t.match(
    await callNode(
      { ...removed, nodes: { n2: { ...first.nodes["n2"]!, addresses: first.nodes["n1"]!.addresses } } },
      "n2",
      "GET",
      "/status",
    ),
    {
      status: 3,
      message: /is n1, not n2/,
    },
  );
});

t.test("oversized and malformed requests", async (t) => {
  const big = "x".repeat(100_000);
  t.match(
    await speak(
      `POST /join HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${big.length}\r\n\r\n${big}`,
    ),
    /^HTTP\/1\.1 413/,
  );
  t.match(
    await speak(
      `POST /join HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000000000000\r\n\r\n`,
    ),
    /^HTTP\/1\.1 413/,
  );
  const chunk = `${big.length.toString(16)}\r\n${big}\r\n`;
  t.match(
    await speak(`POST /join HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}${chunk}`),
    /^HTTP\/1\.1 413/,
  );
  t.match(
    await speak(`POST /join HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]`),
    /no join request/,
  );
  t.match(await speak(`GET /${big} HTTP/1.1\r\nHost: x\r\n\r\n`), /^(HTTP\/1\.1 4\d\d|$)/);
  t.match(await speak(`${big}\r\n\r\n`), /^(HTTP\/1\.1 400|$)/);
  const plain = connectPlain(port, `${subnet}.1`);
  plain.write("GET / HTTP/1.1\r\n\r\n");
  await new Promise<void>((resolve) =>
    plain
      .once("close", resolve)
      .on("error", () => {})
      .resume(),
  );
  t.match(
    await callNode(loadCluster(join(directory, "n2"))!, "n1", "GET", "/nothing"),
    { status: 2 },
    "the node goes on",
  );
});

t.test("a crowd of silent strangers does not lock members out", async (t) => {
  let closed = 0;
  const crowd = Array.from({ length: 200 }, () => {
    const socket = connectPlain(port, `${subnet}.1`);
    return socket.on("error", () => {}).once("close", () => closed++);
  });
  for (let i = 0; i < 200 && closed < 72; i++) await Bun.sleep(20);
  t.ok(closed >= 72 && closed <= 73, `at most 128 stay; ${closed} of 200 were closed`);
  t.match(await callNode(loadCluster(join(directory, "n2"))!, "n1", "GET", "/nothing"), { status: 2 });
  for (const socket of crowd) socket.destroy();
});

t.test("damaged or foreign files are named", async (t) => {
  const varDir = fresh();
  await createCluster(varDir, yamlOf("files", 20), "n1");
  const file = (name: string) => join(varDir, "cluster", name);
  for (const name of readdirSync(join(varDir, "cluster"))) {
    const before = readFileSync(file(name), "utf8");
    writeFileSync(file(name), before.slice(0, before.length / 3));
    t.throws(() => loadCluster(varDir), /cluster/, name);
    rmSync(file(name));
    t.throws(() => loadCluster(varDir), { message: new RegExp(`damaged.*${name}`) });
    writeFileSync(file(name), before);
  }
  writeFileSync(file("node.key"), first.credentials.key);
  t.throws(() => loadCluster(varDir), { message: /node\.key is not the key of node\.crt/ });
  t.equal(loadCluster(fresh()), null);
});

t.test("cluster.yaml is replaced whole, and nodes keep their numbers", async (t) => {
  const cluster = await createCluster(fresh(), yamlOf("grow", 30), "n1");
  const grown = replaceClusterYaml(
    cluster,
    cluster.yaml.replace("port:", `  n3: { addresses: { lan: ${subnet}.40 } }\nport:`),
  );
  t.same(Object.keys(grown.nodes), ["n1", "n2", "n3"]);
  const swapped = cluster.yaml.replace("n1:", "nx:").replace("n2:", "n1:").replace("nx:", "n2:");
  t.throws(() => replaceClusterYaml(grown, swapped), { message: /keep the order/ });
  t.throws(() => replaceClusterYaml(grown, yamlOf("another", 30)), { message: /cluster another/ });
  t.throws(() => replaceClusterYaml(grown, "name: grow"), { name: "ConfigError" });
  t.same(Object.keys(loadCluster(cluster.varDir)!.nodes), ["n1", "n2", "n3"], "nothing changed");
});

t.test("of a cluster that works heartbeat and witness may change, and nothing else", async (t) => {
  const cluster = await createCluster(fresh(), yamlOf("works", 40), "n1");
  const yaml = (lines: string): string => `${cluster.yaml}${lines}\n`;
  const etcd = "heartbeat: { timeout: 3s }\nwitness: { etcd: ['http://10.0.0.9:2379'] }";
  t.match(
    checkClusterChange(cluster, yaml(etcd), ["db"]),
    { witness: { kind: "etcd" } },
    "a first one, any time",
  );
  t.match(checkClusterChange(cluster, yaml("heartbeat: { interval: 50ms, timeout: 1s }"), ["db"]), {
    heartbeat: { intervalMs: 50, timeoutMs: 1000 },
  });
  const lines = cluster.yaml.split("\n");
  const refused = (from: RegExp | string, to: string): string[] => {
    try {
      checkClusterChange(cluster, cluster.yaml.replace(from, to), []);
      return [];
    } catch (error) {
      return error instanceof ConfigError ? error.message.split("\n") : [String(error)];
    }
  };
  const at = (word: string): number => lines.findIndex((line) => line.includes(word)) + 1;
  t.match(refused(String(port), String(port + 1)), [
    new RegExp(
      `^cluster\\.yaml:${at("port:")}:\\d+: port: the port is ${port}, .*: while a cluster works, only heartbeat and witness change. .*put this file at ${cluster.varDir}/cluster/cluster.yaml, and start the daemons`,
    ),
  ]);
  t.match(refused("name: works", "name: other"), [
    /^cluster\.yaml:1:\d+: name: this cluster is works, .* another name is another cluster$/,
  ]);
  t.match(refused(/^ *n2:.*\n/m, ""), [/nodes: the node n2 is missing: .*; n2 stays off/]);
  t.match(refused("port:", `  n3: { addresses: { lan: ${subnet}.49 } }\nport:`), [
    /^cluster\.yaml:\d+:\d+: nodes\.n3: the cluster has no node n3: .*; then, on n3: holdfast cluster join TOKEN --as n3$/,
  ]);
  t.match(refused(/lan: (?<net>[\d.]+\.)(?<last>\d+)/g, "$&, repl: $<net>1$<last>"), [
    /^cluster\.yaml:3:\d+: nodes\.n1\.addresses\.repl: n1 has no address on repl: /,
    /^cluster\.yaml:4:\d+: nodes\.n2\.addresses\.repl: n2 has no address on repl: /,
  ]);
  t.match(refused(/lan:/g, "net:"), [
    /nodes\.n1\.addresses: n1 has an address on lan/,
    /nodes\.n1\.addresses\.net: n1 has no address on net/,
    /nodes\.n2\.addresses: n2 has an address on lan/,
    /nodes\.n2\.addresses\.net: n2 has no address on net/,
  ]);
  t.match(refused(`${subnet}.40`, `${subnet}.48`), [
    new RegExp(`:${at(`${subnet}.40`)}:\\d+: nodes\\.n1\\.addresses\\.lan: n1 is ${subnet}\\.40 on lan`),
  ]);
  const witnessed = replaceClusterYaml(cluster, yaml(etcd));
  for (const other of [cluster.yaml, yaml("witness: { ping: [10.0.0.254] }")]) {
    t.throws(() => checkClusterChange(witnessed, other, ["db"]), {
      name: "ClusterError",
      message: /db must be stopped/,
    });
    t.ok(checkClusterChange(witnessed, other, []));
  }
  t.ok(checkClusterChange(witnessed, witnessed.yaml, ["db"]), "the same again");
});

t.test("until all have another timeout, a node goes by the more careful of both", async (t) => {
  const cluster = await createCluster(fresh(), yamlOf("timed", 50), "n1");
  const timed = (timeout: string): string => `${cluster.yaml}heartbeat: { timeout: ${timeout} }\n`;
  const module = { config: { heartbeat: {} } } as ModuleDefinition;
  const facts = { name: "db", number: 1, boot: null };
  t.same(timeoutsOf(module, cluster, facts), { promised: 3000, patient: 3000 });
  const shorter = replaceClusterYaml(cluster, timed("1s"));
  t.same(timeoutsOf(module, shorter, facts), { promised: 1000, patient: 3000 });
  const longer = replaceClusterYaml(shorter, timed("10s"));
  t.same(timeoutsOf(module, longer, facts), { promised: 1000, patient: 10_000 }, "whoever has which");
  const again = loadCluster(cluster.varDir)!;
  t.same(timeoutsOf(module, again, facts), { promised: 1000, patient: 10_000 }, "a daemon that starts anew");
  const own = { config: { heartbeat: { timeout: 2000 } } } as ModuleDefinition;
  t.same(timeoutsOf(own, again, facts), { promised: 2000, patient: 2000 }, "a module with one of its own");
  replaceClusterYaml(again, timed("10s"));
  forgetFormerTimeouts(cluster.varDir);
  t.same(timeoutsOf(module, loadCluster(cluster.varDir)!, facts), { promised: 10_000, patient: 10_000 });
});
