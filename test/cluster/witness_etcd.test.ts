/** A real etcd as witness: killed, frozen, emptied, with passwords and certificates, and with three members; two nodes ask it over a network that is cut. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import t from "tap";
import { Etcd } from "./etcd.ts";
import { createTestbed, testbedImpossible } from "./testbed.ts";
import { contend, LEASE, read, renew, sole, WitnessAgent } from "./witness_lab.ts";

const skip =
  testbedImpossible() ?? (existsSync("/usr/bin/etcd") ? false : "no /usr/bin/etcd (Debian: etcd-server)");

t.test("etcd", { skip }, async (t) => {
  const bed = await createTestbed({ nodes: 2, hosts: 1, lans: ["lan"], diskMiB: 32 });
  t.teardown(() => bed.destroy());
  const h1 = bed.hosts[0]!;
  const [n1, n2] = await Promise.all([
    WitnessAgent.start(bed, bed.node(1)),
    WitnessAgent.start(bed, bed.node(2)),
  ]);
  const agents = [n1, n2] as const;
  const open = async (
    endpoints: string[],
    secrets: Record<string, string> = {},
    deadlineMs = 500,
  ): Promise<void> => {
    for (const { node } of agents)
      await (node === n1.node ? n1 : n2).ask({
        do: "open",
        config: { kind: "etcd", endpoints },
        node: node.name,
        secrets,
        deadlineMs,
      });
  };

  await t.test("one holder, and one record", async (t) => {
    const etcd = new Etcd(bed, h1, "one", 0);
    await etcd.start();
    await etcd.answers();
    await open([etcd.url]);
    t.match(await n1.ask({ do: "probe" }), { answers: true, detail: /^etcd 3\.\d+\.\d+ answers$/ });
    t.match(
      await n1.ask(renew),
      { kind: "refused", holder: null, why: /no record/ },
      "it may have forgotten",
    );
    await n1.until("granted", renew);
    t.match(await n2.ask(renew), { kind: "refused", holder: "n1" });
    const version = (await n1.ask(read)).record!.version;
    const first = await n1.ask(sole("n1", version));
    t.match(first, { kind: "recorded", record: { sole: "n1", generation: "of-n1", holder: "n1" } });
    t.match(await n2.ask(sole("n2", version)), { kind: "refused", record: { sole: "n1" } });
    await n2.until("granted", renew);
    t.match(await n1.ask(renew), { kind: "refused", holder: "n2" }, "n1 let its lease end");
    t.match(
      await n2.ask(sole("n2", version)),
      { kind: "refused", record: { sole: "n1" } },
      "the record stays",
    );
    t.match(await n2.ask(sole("n2", first.record!.version)), { kind: "recorded", record: { sole: "n2" } });
    t.equal(await n2.ask<boolean>({ do: "release", module: "db" }), true);
    t.match(await n1.ask(renew), { kind: "granted", record: { sole: "n2" } }, "given back: at once");

    const race = (await n1.ask(read)).record!.version;
    await n1.ask({ do: "release", module: "db" });
    const both = await Promise.all(
      agents.map((agent) =>
        agent.ask({ ...sole(agent.node.name, race), generation: `race-${agent.node.name}` }),
      ),
    );
    t.same(
      both.map(({ kind }) => kind).sort((a, b) => (a < b ? -1 : 1)),
      ["recorded", "refused"],
    );

    await contend(t, agents, "killed and started", async () => {
      await Bun.sleep(LEASE);
      await etcd.kill();
      t.match(await n1.ask(read), { kind: "unknown", why: new RegExp(etcd.url) });
      await etcd.start();
      await etcd.answers();
      await Bun.sleep(LEASE);
    });
    t.match(
      await n1.ask(read),
      { kind: "record", record: { generation: /^race-n/ } },
      "the record is still there",
    );

    await contend(t, agents, "frozen for longer than a lease", async () => {
      etcd.process!.signal("SIGSTOP");
      await Bun.sleep(2.5 * LEASE);
      etcd.process!.signal("SIGCONT");
      await Bun.sleep(1.5 * LEASE);
    });

    await contend(t, agents, "cut off from one, then one way from the other", async () => {
      await bed.isolate(n1.node);
      await Bun.sleep(1.7 * LEASE);
      await bed.heal();
      await bed.cut(h1, n2.node);
      await Bun.sleep(1.7 * LEASE);
      await bed.heal();
      await Bun.sleep(0.5 * LEASE);
    });

    await etcd.kill();
  });

  await t.test("a holder carries its record over when etcd is emptied under it", async (t) => {
    const etcd = new Etcd(bed, h1, "emptied", 1);
    await etcd.start();
    await etcd.answers();
    await open([etcd.url]);
    const long = { ...renew, leaseMs: 6000 } as const;
    // The first lease is a short one: nothing is granted for as long as a lease.
    await n1.until("granted", renew);
    await n1.ask(long);
    const version = (await n1.ask(read)).record!.version;
    const recorded = await n1.ask({
      do: "sole",
      module: "db",
      sole: "n1",
      generation: "g",
      expected: version,
    });
    await etcd.kill();
    rmSync(etcd.dir, { recursive: true });
    await etcd.start();
    await etcd.answers();
    t.match(await n2.ask(long), { kind: "refused", holder: null, why: /no record/ });
    t.match(
      await n2.ask({ do: "sole", module: "db", sole: "n2", generation: "h", expected: "absent" }),
      { kind: "refused" },
      "a stale node does not rush in",
    );
    t.match(await n1.until("granted", long), { record: recorded.record! });
    t.match(await n2.ask(long), { kind: "refused", holder: "n1", record: { sole: "n1", generation: "g" } });
    await etcd.kill();
  });

  await t.test("users", async (t) => {
    const etcd = new Etcd(bed, h1, "users", 2);
    await etcd.start();
    await etcd.answers();
    await etcd.post("/v3/auth/user/add", { name: "root", password: "pw" });
    await etcd.post("/v3/auth/role/add", { name: "root" });
    await etcd.post("/v3/auth/user/grant", { user: "root", role: "root" });
    await etcd.post("/v3/auth/enable", {});
    await open([etcd.url]);
    t.match(await n1.ask(read), { kind: "unknown", why: /user name is empty/ });
    await open([etcd.url], { user: "root", password: "wrong" });
    t.match(await n1.ask(read), { kind: "unknown", why: /authentication failed/ });
    await open([etcd.url], { user: "root", password: "pw" });
    t.match(await n1.ask(read), { kind: "record" });
    await etcd.kill();
    await etcd.start();
    await etcd.answers();
    t.match(
      await n1.until("record", read),
      { kind: "record" },
      "it logs in anew where its token is forgotten",
    );
    await etcd.kill();
  });

  await t.test("certificates", async (t) => {
    const path = (name: string): string => `${bed.dir}/${name}.pem`;
    for (const [name, of] of [
      ["server", `IP:${h1.addresses["lan"]}`],
      ["client", "DNS:client"],
    ])
      await h1.exec([
        ...[
          "openssl",
          "req",
          "-x509",
          "-newkey",
          "ec",
          "-pkeyopt",
          "ec_paramgen_curve:P-256",
          "-nodes",
          "-days",
          "2",
        ],
        ...["-subj", `/CN=${name}`, "-addext", `subjectAltName=${of}`, "-keyout", path(`${name}-key`)],
        ...["-out", path(name!)],
      ]);
    const text = (name: string): string => readFileSync(path(name), "utf8");
    // Its gateway shows its own certificate to itself.
    writeFileSync(path("trusted"), text("client") + text("server"));
    const etcd = new Etcd(bed, h1, "tls", 6, "https");
    await etcd.start(
      [etcd],
      [
        ...["--cert-file", path("server"), "--key-file", path("server-key")],
        ...["--client-cert-auth", "--trusted-ca-file", path("trusted")],
      ],
    );
    const client = { certificate: text("client"), key: text("client-key") };
    await open([etcd.url], { ca: text("server"), ...client });
    t.match(await n1.until("record", read), { kind: "record" });
    await open([etcd.url], client);
    t.match(
      await n1.ask(read),
      { kind: "unknown", why: /certificate|self.signed/i },
      "a server that nobody vouches for",
    );
    await open([etcd.url], { ca: text("server") });
    t.match(await n1.ask(read), { kind: "unknown" }, "without a certificate of one's own");
    await etcd.kill();
  });

  await t.test("three members: one may fail", async (t) => {
    const members = [0, 1, 2].map((n) => new Etcd(bed, h1, `m${n}`, 3 + n));
    await Promise.all(members.map((member) => member.start(members)));
    await Promise.all(members.map((member) => member.answers()));
    await open(
      members.map(({ url }) => url),
      {},
      1500,
    );
    await n1.until("granted", renew);
    await contend(t, agents, "a member frozen, then one killed", async () => {
      members[0]!.process!.signal("SIGSTOP");
      await Bun.sleep(2 * LEASE);
      members[0]!.process!.signal("SIGCONT");
      await members[1]!.kill();
      await Bun.sleep(1.5 * LEASE);
    });
    await n1.until("record", read);
    await members[2]!.kill();
    t.match(await n1.ask(read), { kind: "unknown" }, "one of three is none");
    await members[0]!.kill();
  });
});
