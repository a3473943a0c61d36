/**
 * docs/examples.md, typed as it stands there on three real nodes: a web farm before a mirrored database, two mirrors each of whose nodes is the
 * other's backup, and two that share one. Then each node loses its power, and both at once.
 */
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { localApi } from "../../core/api/api.ts";
import type { StatusDocument } from "../../core/daemon/engine.ts";
import { postgresqlImpossible } from "../campaign/postgresql.ts";
import { Page } from "./page.ts";
import { createTestbed, type Host, type Node, type Testbed, testbedImpossible, until } from "./testbed.ts";

t.setTimeout(400_000);

const page = new Page("docs/examples.md");
const PROGRAMS = ["/usr/sbin/apache2", "/usr/bin/redis-server", "/usr/bin/curl"];
/** What a module is on each of its nodes when all is well. */
const AT_HOME = {
  web: { n1: "UP", n2: "UP", n3: "UP" },
  db: { n1: "PRIM", n2: "SECOND" },
  cache: { n1: "SECOND", n2: "PRIM" },
  north: { n1: "PRIM", n3: "SECOND" },
  south: { n2: "PRIM", n3: "SECOND" },
};

/** The cluster of the page, and a client. */
class Lab {
  constructor(readonly bed: Testbed) {}

  get nodes(): [Node, Node, Node] {
    return this.bed.nodes as [Node, Node, Node];
  }

  get client(): Host {
    return this.bed.hosts[0]!;
  }

  machine(name: string): Host {
    return this.nodes.find((node) => node.name === name) ?? this.client;
  }

  /**
   * Types lines as they stand on the page. What a fresh Debian would need is there on the machine that runs the tests; the types of our own
   * templates are checked elsewhere, once.
   */
  async type(machine: Host, lines: string): Promise<string> {
    const typed = lines
      .replaceAll(/^(apt-get|systemctl) .*$/gm, "")
      .replaceAll("module apply", "module apply --no-types");
    const env = {
      PATH: `${this.bed.dir}:/usr/sbin:/usr/bin:/sbin:/bin`,
      HOLDFAST_VAR: (machine as Node).varDir ?? "",
    };
    return (await machine.exec(["bash", "-ec", typed], { env })).stdout;
  }

  /** All blocks under one heading; returns what they said. */
  async typeAll(heading: string): Promise<string> {
    let said = "";
    for (const { machines, text } of page.commands(heading))
      said += (await Promise.all(machines.map((name) => this.type(this.machine(name), text)))).join("");
    return said;
  }

  async build(): Promise<void> {
    // Users postgres and redis must reach the disk.
    chmodSync(this.bed.dir, 0o755);
    await this.client.exec(["ip", "addr", "add", "10.0.0.201/24", "dev", "lan"]);
    const file = join(this.bed.dir, "cluster.yaml");
    writeFileSync(file, `${page.block("yaml")}heartbeat: { interval: 200ms, timeout: 1s }\n`);
    const [n1, ...others] = this.nodes;
    for (const node of this.nodes) await this.prepare(node);
    await n1.holdfast(["cluster", "create", file, "--as", "n1"]);
    await n1.startDaemon();
    for (const node of others) {
      const { token } = await n1.json<{ token: string }>(["cluster", "token"]);
      await node.holdfast(["cluster", "join", token, "--as", node.name]);
      await node.startDaemon();
    }
  }

  /** A machine's own `/srv`, Apache and address: the testbed's machines share the file system of the one that runs them. */
  async prepare(node: Node): Promise<void> {
    const own = `${this.bed.diskDir}/system`;
    const covered = ["/srv", "/etc/apache2", "/usr/lib/cgi-bin", "/var/lib/apache2", "/var/log/apache2"].map(
      (path) => `mkdir -p ${own}${path}; cp -an ${path}/. ${own}${path}; mount --bind ${own}${path} ${path}`,
    );
    const address = `ip addr add 10.0.0.${node.number}/24 dev lan`;
    await node.exec(["sh", "-ec", [...covered, address].join("\n")]);
  }

  async boot(...nodes: Node[]): Promise<void> {
    await Promise.all(
      nodes.map(async (node) => {
        await node.powerOn();
        await this.prepare(node);
        await node.startDaemon();
      }),
    );
  }

  async told(by: Node): Promise<StatusDocument["modules"]> {
    const { body } = await localApi(by.on.path(by.varDir)).call("GET", "/status");
    return (body as StatusDocument).modules;
  }

  /** Waits until a node tells this of modules, each of them Ready; those that are not named may be anything. */
  async comesTo(
    t: Test,
    what: string,
    by: Node,
    wanted: Record<string, Record<string, string>>,
  ): Promise<void> {
    let seen: Record<string, Record<string, string>> = {};
    const look = async (): Promise<boolean> => {
      const modules = await this.told(by);
      seen = Object.fromEntries(
        Object.entries(wanted).map(([name, nodes]) => [
          name,
          Object.fromEntries(
            Object.keys(nodes).map((node) => {
              const { state = "none", readiness = "" } = modules[name]?.nodes[node] ?? {};
              return [node, readiness === "Ready" || state === "UNKNOWN" ? state : `${state} ${readiness}`];
            }),
          ),
        ]),
      );
      return Bun.deepEquals(seen, wanted);
    };
    await until(what, look, 30_000, 100).catch(() => undefined);
    t.same(seen, wanted, what);
  }

  /** Waits until clients of the farm are shared out among exactly these nodes. */
  async serves(t: Test, what: string, nodes: readonly string[]): Promise<void> {
    const shares = async (): Promise<string[]> => {
      const { web } = await this.told(this.nodes[2]);
      return Object.entries(web!.nodes).flatMap(([node, { buckets }]) => ((buckets ?? 0) > 0 ? [node] : []));
    };
    await until(what, async () => Bun.deepEquals(await shares(), nodes), 20_000, 100).catch(() => undefined);
    t.same(await shares(), nodes, `${what}: who serves`);
  }

  /** What a Redis says at its virtual IP. */
  async ask(address: string, port: number): Promise<string> {
    const asked = `printf 'AUTH change-me\\nPING\\n' | redis-cli -h ${address} -p ${port}`;
    return (await this.client.exec(["bash", "-c", asked])).stdout;
  }

  /** Orders without pause, until `end`, which returns what the client was answered. */
  async orders(): Promise<{ end(): Promise<string[]> }> {
    const [said, flag] = [`${this.bed.dir}/answers`, `${this.bed.dir}/end`];
    rmSync(flag, { force: true });
    writeFileSync(said, "");
    const post = `curl -s -m 30 --data "" http://10.0.0.100/cgi-bin/orders >> ${said} || echo "curl: $?" >> ${said}`;
    const client = await this.client.spawn([
      "bash",
      "-c",
      `while [ ! -e ${flag} ]; do ${post}; sleep 0.05; done`,
    ]);
    return {
      end: async () => {
        writeFileSync(flag, "");
        await client.exited;
        return readFileSync(said, "utf8").trimEnd().split("\n");
      },
    };
  }

  /** Every order that was acknowledged is there; n1 has the database. */
  async nothingLost(t: Test, what: string, answers: string[]): Promise<void> {
    const isKept = /^\d+(?= \(n\d\)$)/;
    const kept = answers.flatMap((line) => isKept.exec(line) ?? []);
    const rows = ["runuser", "-u", "postgres", "--", "psql", "-d", "shop", "-Atc", "select id from orders"];
    const there = new Set((await this.nodes[0].exec(rows)).stdout.trim().split("\n"));
    t.comment(
      `${what}: ${kept.length} orders kept; else: ${answers.filter((line) => !isKept.test(line)).join("; ")}`,
    );
    t.ok(kept.length > 0, `${what}: orders were kept`);
    t.same(
      kept.filter((order) => !there.has(order)),
      [],
      `${what}: none is missing`,
    );
  }
}

const skip =
  testbedImpossible() ??
  postgresqlImpossible() ??
  PROGRAMS.filter((program) => !existsSync(program)).map((program) => `needs ${program}`)[0] ??
  false;

t.test("docs/examples.md", { skip }, async (t) => {
  const bed = await createTestbed({ nodes: 3, hosts: 1, lans: ["lan"] });
  await using _bed = bed;
  const lab = new Lab(bed);
  const [n1, n2, n3] = lab.nodes;
  await lab.build();

  await t.test("a web farm before a database", async (t) => {
    await lab.typeAll("A web farm before a database");
    await lab.typeAll("The database");
    for (const node of lab.nodes) writeFileSync(node.on.path("/usr/lib/cgi-bin/orders"), page.block("cgi"));
    await lab.typeAll("The pages");
    const told = await lab.typeAll("The farm");
    t.match(told, /^1 \(n\d\)\n1 \(n\d\)\n$/m);
  });
  await t.test("two mirrors that are each other's backup, and two that share one", async (t) => {
    await lab.typeAll("Two applications, each node the other's backup");
    await lab.typeAll("One backup for several");
    await lab.comesTo(t, "all at home", n3, AT_HOME);
  });

  await t.test("n1 loses its power", async (t) => {
    const orders = await lab.orders();
    await n1.powerCut();
    await lab.comesTo(t, "the others have all of it", n3, {
      web: { n1: "UNKNOWN", n2: "UP", n3: "UP" },
      db: { n1: "UNKNOWN", n2: "ALONE" },
      cache: { n1: "UNKNOWN", n2: "ALONE" },
      north: { n1: "UNKNOWN", n3: "ALONE" },
      south: AT_HOME.south,
    });
    await lab.serves(t, "without n1", ["n2", "n3"]);
    await lab.boot(n1);
    await lab.comesTo(t, "everything is at home again", n3, AT_HOME);
    await lab.serves(t, "all three", ["n1", "n2", "n3"]);
    await lab.nothingLost(t, "n1 was cut, and came back", await orders.end());
  });

  await t.test("n2 loses its power, and then n1", async (t) => {
    await n2.powerCut();
    await lab.comesTo(t, "the others have all of it", n3, {
      db: { n1: "ALONE", n2: "UNKNOWN" },
      cache: { n1: "ALONE", n2: "UNKNOWN" },
      north: AT_HOME.north,
      south: { n2: "UNKNOWN", n3: "ALONE" },
    });
    await lab.serves(t, "without n2", ["n1", "n3"]);
    await n1.powerCut();
    await lab.comesTo(t, "the shared backup runs both", n3, {
      db: { n1: "UNKNOWN", n2: "UNKNOWN" },
      north: { n1: "UNKNOWN", n3: "ALONE" },
      south: { n2: "UNKNOWN", n3: "ALONE" },
    });
    await lab.serves(t, "no database: nobody would serve better", ["n3"]);
    await until("n3 says why it is open", async () =>
      /NOT closed to clients, though module\.db is down/.test(
        (await lab.told(n3))["web"]!.nodes["n3"]!.reason,
      ),
    );
    await lab.boot(n1, n2);
    await lab.comesTo(t, "everything is at home again", n3, AT_HOME);
    await lab.serves(t, "it opens by itself", ["n1", "n2", "n3"]);
    for (const [address, port] of [
      ["10.0.0.102", 6379],
      ["10.0.0.103", 6380],
      ["10.0.0.104", 6381],
    ] as const)
      t.match(await lab.ask(address, port), /PONG/, `${address} answers`);
  });
});
