/**
 * Secrets between nodes, over the real API with mutual TLS: set on one, fetched by the others at once or when a heartbeat tells of them; and what is
 * refused, without a word of the value.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import {
  type Api,
  type ApiHost,
  callNode,
  createApi,
  localApi,
  serveLocal,
  serveMembers,
} from "../../core/api/api.ts";
import { listed } from "../../core/cli/commands/secret.ts";
import { withoutLineEnd } from "../../core/cli/secret_input.ts";
import {
  type Cluster,
  createCluster,
  createToken,
  joinCluster,
  loadCluster,
} from "../../core/cluster/cluster.ts";
import type { CommandResult, HeldSecrets } from "../../core/daemon/engine.ts";
import { Journal } from "../../core/daemon/journal.ts";
import { NodeSecrets } from "../../core/daemon/secrets/node_secrets.ts";
import { MemoryEngine } from "./memory_engine.ts";

const directory = mkdtempSync(join(tmpdir(), "holdfast-secrets-nodes-"));
const port = 20_000 + (process.pid % 20_000);
const subnet = `127.${1 + (process.pid % 250)}.9`;
const yaml = `name: secrets
nodes:
  n1: { addresses: { lan: ${subnet}.1 } }
  n2: { addresses: { lan: ${subnet}.2 } }
  n3: { addresses: { lan: ${subnet}.3 } }
port: ${port}
`;
const VALUE = "correct horse battery staple";
const closing: (() => void)[] = [];
t.teardown(() => {
  for (const close of closing) close();
  rmSync(directory, { recursive: true, force: true });
});

/** A node with secrets and an API; `listen` puts it on the network. */
class TestNode {
  readonly varDir: string;
  readonly secrets: NodeSecrets;
  readonly cluster: Cluster;
  readonly api: Api;
  declared: readonly string[] | null = null;
  #members: { close(): void } | null = null;

  constructor(readonly name: string) {
    this.varDir = join(directory, name);
    this.cluster = loadCluster(this.varDir)!;
    const journal = new Journal(join(this.varDir, "log"), name);
    this.secrets = new NodeSecrets({
      varDir: this.varDir,
      cluster: this.cluster,
      declared: () => this.declared,
      journal: () => journal,
      publish: () => {},
    });
    const engine = new MemoryEngine(name, "secrets", this.secrets);
    const host: ApiHost = {
      varDir: this.varDir,
      engine: () => engine,
      cluster: () => this.cluster,
      clusterChanged: async () => {},
      takeClusterYaml: async () => {},
      settleClusterYaml: async () => true,
      heartbeats: () => ({ hears: {}, troubles: {}, counters: {} }),
      clockStep: () => null,
    };
    this.api = createApi(host);
    closing.push(() => this.leave());
  }

  listen(): void {
    this.#members ??= serveMembers(this.cluster, this.api, () => {});
  }
  leave(): void {
    this.#members?.close();
    this.#members = null;
  }
  async ask(method: string, path: string, body?: unknown): Promise<CommandResult> {
    return (await localApi(this.varDir).call(method, path, body)).body as CommandResult;
  }
  put(key: string, value: string | Buffer): Promise<CommandResult> {
    return this.ask("PUT", `/secrets/db/${key}`, { value: Buffer.from(value).toString("base64") });
  }
  value(key: string): string | undefined {
    const found = this.secrets.values("db", [key])[key];
    return found && Buffer.from(found).toString();
  }
  /** As if a heartbeat of the other had come. */
  async hears(other: TestNode): Promise<void> {
    this.secrets.onBeat(other.name, other.secrets.digest());
    await this.secrets.settle();
  }
}

const first = await createCluster(join(directory, "n1"), yaml, "n1");
const admitting = serveMembers(first, { handle: async () => new Response() }, () => {});
for (const name of ["n2", "n3"]) await joinCluster(join(directory, name), createToken(first).token, name);
admitting.close();
const [n1, n2, n3] = ["n1", "n2", "n3"].map((name) => new TestNode(name)) as [TestNode, TestNode, TestNode];
for (const node of [n1, n2, n3]) closing.push((await serveLocal(node.varDir, node.api)).close);
for (const node of [n1, n2]) node.listen();

/** Everything that a node has on disk. */
function everything(folder: string): string {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), "latin1"))
    .join("\n");
}

function nowhere(t: Test, value: string): void {
  for (const node of [n1, n2, n3])
    for (const spelling of [value, Buffer.from(value).toString("base64").replace(/=*$/, "")])
      t.notOk(everything(node.varDir).includes(spelling), `${node.name} has it nowhere in clear`);
}

t.test("set before the module is there, on every node that answers; who was away fetches it", async (t) => {
  const done = await n1.put("password", VALUE);
  t.match(done, { status: 0, data: { nodes: ["n1", "n2"], away: ["n3"] } });
  t.match(
    done.message,
    /is set on n1, n2\nn3 does not answer: it takes this when it is back\nthere is no module db on n1 yet/,
  );
  t.equal(n2.value("password"), VALUE);
  n1.declared = ["other"];
  t.match((await n1.put("password", VALUE)).message, /db does not list password under secrets/);
  n1.declared = ["password", "missing"];
  t.match((await n1.put("password", VALUE)).message, /hooks get it from their next run on$/);
  t.same(n1.secrets.lack("db", n1.declared), {
    reason: "the secret missing has no value on n1",
    remedy: "holdfast secret set db missing",
  });
  t.match(n3.secrets.lack("db", n1.declared), {
    reason: "the secrets password, missing have no value on n3",
  });
  const complete = n3.secrets.whenComplete("db", () => ["password"]);
  await n3.hears(n1);
  await complete;
  t.equal(n3.value("password"), VALUE);
  t.equal(n3.secrets.digest(), n1.secrets.digest());
  await Bun.sleep(50);
  nowhere(t, VALUE);
});

t.test("any bytes; nothing; too much", async (t) => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
  t.match(await n1.put("bytes", bytes), { status: 0 });
  t.same(Buffer.from(n2.secrets.values("db", ["bytes"])["bytes"]!), bytes);
  t.match(await n1.put("bytes", ""), { status: 2, message: /holdfast secret remove db bytes/ });
  t.match(await n1.put("bytes", "x".repeat(64 * 1024 + 1)), { status: 2, message: /at most 65536 bytes/ });
  t.same(Buffer.from(n1.secrets.values("db", ["bytes"])["bytes"]!), bytes, "nothing changed");
});

t.test("two nodes that did not hear each other: the later one, on both", async (t) => {
  n2.leave();
  t.match(await n1.put("password", "from n1"), { data: { away: ["n2", "n3"] } });
  n2.listen();
  n1.leave();
  t.match(await n2.put("password", "from n2, later"), { data: { away: ["n1", "n3"] } });
  n1.listen();
  await n2.hears(n1);
  t.equal(n2.value("password"), "from n2, later", "an older one is not taken");
  await n1.hears(n2);
  t.equal(n1.value("password"), "from n2, later");
  t.equal(n1.secrets.digest(), n2.secrets.digest());
  await Bun.sleep(50);
  const log = everything(join(n1.varDir, "log"));
  t.match(log, /Secret password of db came from n2: set on n2 at .*; it replaces what was set on n1 at/);
});

t.test("removed while one was away", async (t) => {
  n2.leave();
  t.match(await n1.ask("DELETE", "/secrets/db/password"), {
    status: 0,
    message: /removed on n1.*does not start without a value/s,
  });
  n2.listen();
  await n1.hears(n2);
  t.equal(n1.value("password"), undefined, "its old value does not come back");
  await n2.hears(n1);
  t.equal(n2.value("password"), undefined);
  t.match(await n1.ask("DELETE", "/secrets/db/password"), { status: 2, message: /has no secret password/ });
});

t.test("what is not allowed is refused whole, and never quoted", async (t) => {
  const before = n2.secrets.digest();
  const member = (method: string, path: string, body?: unknown): Promise<CommandResult> =>
    callNode(n1.cluster, "n2", method, path, body);
  const value = Buffer.from(VALUE).toString("base64");
  t.match(await member("PUT", "/secrets/db/password", { value }), {
    status: 2,
    message: /own administrator/,
  });
  t.match(await member("DELETE", "/secrets/db/bytes"), { status: 2, message: /own administrator/ });
  t.match(await n2.ask("POST", "/secrets/look", {}), { status: 2, message: /only another node/ });
  t.match(await n2.ask("POST", "/secrets/give", n1.secrets), { status: 2, message: /only another node/ });
  const bodies: unknown[] = [
    {},
    { value: VALUE },
    { value: [VALUE] },
    { value, more: VALUE },
    { value: `${value}!` },
    { [VALUE]: value },
    VALUE,
    [value],
  ];
  for (const body of bodies) {
    const answer = await n2.ask("PUT", "/secrets/db/password", body);
    t.equal(answer.status, 2, JSON.stringify(body));
    t.notOk(answer.message.includes(VALUE) || answer.message.includes(value), answer.message);
  }
  for (const path of [
    "/secrets/db/..",
    "/secrets/db/a-b",
    "/secrets/db/1a",
    `/secrets/db/${"k".repeat(65)}`,
    "/secrets/d%2fb/a",
  ])
    t.equal((await n2.ask("PUT", path, { value })).status, 2, path);
  const ask = { publicKey: "A".repeat(44), have: {}, after: "" };
  const asks: unknown[] = [
    {},
    ask,
    { ...ask, publicKey: "" },
    { ...ask, have: { "../x": {} } },
    { ...ask, have: { db: { password: { stamp: -1, node: "n1", id: "" } } } },
    { ...ask, have: { db: { password: { stamp: 1e300, node: "n1", id: "0".repeat(16) } } } },
  ];
  for (const body of asks)
    t.not((await member("POST", "/secrets/give", body)).status, 0, JSON.stringify(body));
  t.equal(n2.secrets.digest(), before);
  await Bun.sleep(50);
  nowhere(t, VALUE);
});

t.test("an answer of another node that is no good changes nothing", async (t) => {
  n2.leave();
  const answers: unknown[] = [
    { entries: [], more: true },
    {
      entries: [{ module: "db", key: "x", stamp: 1, node: "n2", id: "0".repeat(16), sealed: "AAAA" }],
      more: false,
    },
    {
      entries: [{ module: "db", key: "__proto__", stamp: 1, node: "n2", id: "0".repeat(16), sealed: null }],
      more: false,
    },
    { entries: "all of them" },
    null,
  ];
  for (const data of answers) {
    const bad = serveMembers(
      n2.cluster,
      { handle: async () => Response.json({ status: 0, message: "", data }) },
      () => {},
    );
    const before = n1.secrets.digest();
    await n1.secrets.look("n2");
    t.equal(n1.secrets.digest(), before, JSON.stringify(data));
    bad.close();
  }
  n2.listen();
});

t.test("what is shown of them", async (t) => {
  const held = (secrets: HeldSecrets["secrets"], declared: readonly string[] | null = null): HeldSecrets => ({
    declared,
    secrets,
  });
  const one = {
    key: "a",
    since: "2026-01-01T00:00:00.000Z",
    setOn: "n1",
    version: "1.n1.0",
    isLocked: false,
  };
  const newer = { ...one, since: "2026-01-02T00:00:00.000Z", setOn: "n2", version: "2.n2.0" };
  t.same(
    listed([
      ["n1", held([one], ["a", "b"])],
      ["n2", held([newer])],
      ["n3", null],
      ["n4", held([{ ...newer, isLocked: true }])],
      ["n5", held([])],
    ]),
    [
      {
        key: "a",
        declared: true,
        since: newer.since,
        setOn: "n2",
        nodes: { n1: "older", n2: "current", n3: "unknown", n4: "unreadable", n5: "missing" },
      },
      {
        key: "b",
        declared: true,
        since: null,
        setOn: null,
        nodes: { n1: "missing", n2: "missing", n3: "unknown", n4: "missing", n5: "missing" },
      },
    ],
  );
});

t.test("the line end of echo does not count, a file's does", async (t) => {
  const cases: [string, string][] = [
    ["word\n", "word"],
    ["word\r\n", "word"],
    ["word", "word"],
    ["word\n\n", "word\n\n"],
    ["one\ntwo\n", "one\ntwo\n"],
    ["\n", ""],
    ["", ""],
  ];
  for (const [from, to] of cases)
    t.equal(withoutLineEnd(Buffer.from(from)).toString(), to, JSON.stringify(from));
});
