/** `holdfast witness` on a machine of its own, and two clusters that enrol with it: what it grants when it is killed, frozen and emptied, and what it refuses. */
import { rmSync } from "node:fs";
import t from "tap";
import type { NodeWitnessConfig } from "../../core/witness/config.ts";
import { createTestbed, type MachineProcess, type Node, testbedImpossible, until } from "./testbed.ts";
import { contend, LEASE, read, renew, sole, WitnessAgent } from "./witness_lab.ts";

const skip = testbedImpossible() ?? (Bun.which("curl") ? false : "curl is missing");
const release = { do: "release", module: "db" } as const;

type Shown = { witness: NodeWitnessConfig | null; answers: boolean | null; detail: string; promise: string };
type Findings = { findings: { what: string; level: string; detail: string }[] };

t.test("a Holdfast witness", { skip }, async (t) => {
  const bed = await createTestbed({ nodes: 3, hosts: 1, lans: ["lan"], diskMiB: 64 });
  t.teardown(() => bed.destroy());
  const h1 = bed.hosts[0]!;
  const [n1, n2, n3] = bed.nodes as [Node, Node, Node];
  const dir = `${bed.dir}/witness`;
  const address = h1.addresses["lan"]!;
  let witness: MachineProcess;
  const start = async (): Promise<void> => {
    witness = await h1.spawn([bed.binary, "witness", "--var", dir, "--address", address], {
      log: `${bed.dir}/witness.log`,
    });
    await until("the witness listens", async () => {
      const { stdout } = await h1.exec(["curl", "-sk", "-m", "2", `https://${address}:9452/authority`], {
        mayFail: true,
      });
      return stdout.includes("BEGIN CERTIFICATE");
    });
  };
  const kill = async (): Promise<void> => {
    witness.signal("SIGKILL");
    await witness.exited;
  };
  const token = async (): Promise<string> =>
    (await h1.exec([bed.binary, "witness", "token", "--var", dir, "--address", address])).stdout.trim();
  const yaml = (name: string, nodes: readonly Node[]): string =>
    `name: ${name}\nnodes:\n${nodes.map((node) => `  ${node.name}: { addresses: { lan: ${node.addresses["lan"]} } }\n`).join("")}`;

  await start();
  await Promise.all(bed.nodes.map((node) => node.startDaemon()));
  await n1.holdfast(["cluster", "create", "-", "--as", "n1"], { input: yaml("ours", [n1, n2]) });
  await n2.holdfast([
    "cluster",
    "join",
    (await n1.holdfast(["cluster", "token"])).stdout.trim(),
    "--as",
    "n2",
  ]);
  await n3.holdfast(["cluster", "create", "-", "--as", "n3"], { input: yaml("theirs", [n3]) });

  await t.test("a cluster enrols by a token, once, and every node knows it", async (t) => {
    t.match(await n1.json<Shown>(["cluster", "witness", "show"]), {
      witness: null,
      answers: null,
      promise: /both may run/,
    });
    const once = await token();
    const joins = await n1.holdfast(["cluster", "join", once, "--as", "n1"], { mayFail: true });
    t.match(joins, { status: 2, stderr: /no join token/ });
    const wrong = await n1.holdfast(["cluster", "witness", "add", once.slice(0, -1)], { mayFail: true });
    t.match(wrong, { status: 2, stderr: /damaged or cut short/ });
    t.match(await n1.holdfast(["cluster", "witness", "add", once]), { stdout: /in force on n1, n2/ });
    const again = await n3.holdfast(["cluster", "witness", "add", once], { mayFail: true });
    t.match(again, { status: 2, stderr: /used already/ });
    for (const node of [n1, n2]) {
      t.match(await node.json<Shown>(["cluster", "witness", "show"]), {
        witness: { kind: "node", addresses: [address], port: 9452 },
        answers: true,
        detail: /serves cluster ours/,
        promise: /one goes on, never both/,
      });
      t.match(await node.json(["cluster", "show"]), {
        heartbeat: { timeoutMs: 3000 },
        witness: { kind: "node" },
      });
      const { findings } = await node.json<Findings>(["doctor"], { mayFail: true });
      t.match(
        findings.find(({ what }) => what === "witness"),
        { level: "good" },
      );
    }
    t.match(await n3.holdfast(["cluster", "witness", "add", "-"], { input: await token() }), {
      stdout: /in force on n3/,
    });
  });

  await t.test("cluster apply refuses what it does not apply", async (t) => {
    const input = yaml("ours", [n1, n2]).replace("name:", "port: 9400\nname:");
    const refused = await n1.holdfast(["cluster", "apply", "-"], { input, mayFail: true });
    t.match(refused, {
      status: 2,
      stderr: /-:1:\d+: port: the port is 9453, not 9400: .*only heartbeat and witness change/,
    });
    const away = await n3.holdfast(["cluster", "apply", "-"], {
      input: "name: theirs\nnodes: {",
      mayFail: true,
    });
    t.match(away, { status: 2, stderr: /-:2:\d+: / });
    await bed.isolate(n2);
    const alone = await n1.holdfast(["cluster", "apply", `${n1.varDir}/cluster/cluster.yaml`], {
      mayFail: true,
    });
    t.match(alone, {
      status: 1,
      stderr: /nothing was changed, since every node must take it:\nn2 does not answer/,
    });
    await bed.heal();
  });

  const [a1, a2, a3] = (await Promise.all(bed.nodes.map((node) => WitnessAgent.start(bed, node)))) as [
    WitnessAgent,
    WitnessAgent,
    WitnessAgent,
  ];
  for (const agent of [a1, a2, a3]) {
    const { witness: config } = await agent.node.json<Shown>(["cluster", "witness", "show"]);
    const { name, varDir } = agent.node;
    await agent.ask({ do: "open", config: config!, node: name, varDir, deadlineMs: 500 });
  }

  await t.test("one holder, one record, and nothing of another cluster", async (t) => {
    await a1.until("granted", renew);
    t.match(await a2.ask(renew), { kind: "refused", holder: "n1" });
    t.match(
      await a3.ask(renew),
      { kind: "granted", record: { holder: "n3", version: "absent" } },
      "another's db",
    );
    const { record } = await a1.until("recorded", sole("n1", (await a1.ask(read)).record!.version));
    t.match(await a2.until("record", read), { record: { sole: "n1", generation: "of-n1" } });
    t.match(await a3.until("record", read), { record: { sole: null } });
    await a2.until("granted", renew);
    t.match(await a2.ask(sole("n2", "absent")), { kind: "refused", record: { sole: "n1" } });
    t.match(await a2.ask(sole("n2", record.version)), { kind: "recorded" });
    await a2.until("granted", renew);
    t.equal(await a2.ask<boolean>(release), true);
    t.match(await a1.ask(renew), { kind: "granted" }, "given back: at once");
  });

  await t.test("killed, frozen, cut off", async (t) => {
    await contend(t, [a1, a2], "killed for a moment", async () => {
      await Bun.sleep(LEASE);
      await kill();
      await start();
      await Bun.sleep(LEASE);
    });
    await contend(t, [a1, a2], "killed for longer than a lease, and frozen", async () => {
      await kill();
      t.match(await a3.ask(read), { kind: "unknown" });
      await Bun.sleep(1.5 * LEASE);
      await start();
      await Bun.sleep(1.5 * LEASE);
      witness.signal("SIGSTOP");
      await Bun.sleep(1.5 * LEASE);
      witness.signal("SIGCONT");
      await Bun.sleep(LEASE);
    });
    await contend(t, [a1, a2], "cut off from one, one way from the other", async () => {
      await bed.isolate(n1);
      await Bun.sleep(1.5 * LEASE);
      await bed.heal();
      await bed.cut(h1, n2);
      await Bun.sleep(1.5 * LEASE);
      await bed.heal();
      await Bun.sleep(LEASE / 2);
    });
    t.match(
      await a1.until("record", read),
      { record: { sole: "n2", generation: "of-n2" } },
      "the record survives",
    );
  });

  await t.test("what it refuses", async (t) => {
    const credentials = ["--cert", `${n1.varDir}/cluster/node.crt`, "--key", `${n1.varDir}/cluster/node.key`];
    const post = async (path: string, body: string, options = credentials): Promise<string> => {
      const call = ["curl", "-sk", "-m", "5", "-w", " %{http_code}", ...options, "-d", body];
      return (await n1.exec([...call, `https://${address}:9452${path}`])).stdout;
    };
    const good = JSON.stringify({ module: "db" });
    t.match(await post("/witness/read", good), / 200$/);
    t.match(await post("/witness/read", good, []), / 401$/, "without a certificate");
    t.match(await post("/witness/read", "{"), / 400$/);
    t.match(
      await post("/witness/read", JSON.stringify({ module: "../../identity" })),
      /not a module's name.* 400$/,
    );
    t.match(await post("/witness/read", JSON.stringify({ module: "db", node: "n2" })), / 400$/);
    t.match(
      await post("/witness/renew", JSON.stringify({ module: "db", leaseMs: 1e9, holds: true })),
      /leaseMs.* 400$/,
    );
    t.match(await post("/witness/read", JSON.stringify({ module: "x".repeat(10_000) })), / 413$/);
    t.match(await post("/witness/anything", good), / 404$/);
    t.match(
      await post("/enrol", JSON.stringify({ secret: "x", cluster: "ours", authority: "none" })),
      / 400$/,
    );
    const self = JSON.parse((await post("/witness/self", "")).replace(/ \d+$/, "")) as { modules: object };
    t.same(Object.keys(self.modules), ["db"], "what was refused left nothing behind");
  });

  await t.test("emptied, it answers nobody; and it is left", async (t) => {
    t.match(await n3.holdfast(["cluster", "witness", "remove"]), { stdout: /in force on n3/ });
    t.match(await a3.ask(read), { kind: "unknown", why: /only members|does not serve/ });
    t.match(await a1.until("record", read), { record: { sole: "n2" } }, "the other cluster's records stay");
    await kill();
    const gone = await n1.holdfast(["cluster", "witness", "show"], { mayFail: true });
    t.match(gone, { status: 4, stdout: /answers: no/ });
    rmSync(dir, { recursive: true });
    await start();
    t.match(await a1.ask(renew), { kind: "unknown" }, "a new one is another");
    const { findings } = await n1.json<Findings>(["doctor"], { mayFail: true });
    t.match(
      findings.find(({ what }) => what === "witness"),
      { level: "problem" },
    );
    const removed = await n2.holdfast(["cluster", "witness", "remove"]);
    t.match(removed, { stdout: /in force on n1, n2/, stderr: /was not told/ });
    t.match(await n1.json<Shown>(["cluster", "witness", "show"]), { witness: null });
  });
});
