/**
 * The filter of a farm alone, in the kernels of three machines without a daemon: 100 000 clients are shared out by it, and nodes that believe different
 * things of each other never both answer (trap 37).
 */
import t from "tap";
import { assign, inOrder } from "../../core/farm/assignment.ts";
import { movesBetween } from "../../core/farm/moves.ts";
import { type Filter, rulesetOf } from "../../core/farm/ruleset.ts";
import { createTestbed, type Host, testbedImpossible, until } from "./testbed.ts";

t.setTimeout(400_000);

const IP = "10.77.0.100";
const IP6 = "fd77::100";
const NAMES = ["h1", "h2", "h3"];
const WEIGHTS = { h1: 2, h2: 1, h3: 1 };
/** By address. */
const CLIENTS = { [IP]: 100_000, [IP6]: 20_000 };
const VIRTUAL_MAC = "02:be:ef:00:00:01";
const TABLE = "holdfast_test_farm";
/** Buckets by number of the node. */
const OWNERS = assign({ nodes: NAMES, weights: WEIGHTS, priority: [] }, NAMES).map((name) =>
  NAMES.indexOf(name),
);

type Settings = Partial<Pick<Filter, "virtualMac" | "settled" | "owners" | "rules" | "peers" | "absent">>;

function filterOf(nodes: readonly Host[], me: number, settings: Settings): Filter {
  const node = nodes[me]!;
  const own = { 4: node.addresses["lan"]!, 6: node.addresses6["lan"]! } as const;
  const peers = nodes.flatMap((peer, number) => (number === me ? [] : [{ number, mac: peer.mac("lan") }]));
  return {
    table: TABLE,
    device: "lan",
    mac: node.mac("lan"),
    doubtMs: 500,
    addresses: (
      [
        [IP, 4],
        [IP6, 6],
      ] as const
    ).map(([host, version]) => ({ host, version, own: own[version], answers: me === 0 })),
    rules: [
      { protocol: "udp", ports: [5353], affinity: "client-ip" },
      { protocol: "tcp", ports: [8080], affinity: "connection" },
    ],
    seed: 77,
    me,
    nodes: nodes.length,
    serves: true,
    peers,
    owners: OWNERS,
    absent: [],
    former: new Map(),
    ...settings,
  };
}

async function load(nodes: readonly Host[], settings: (me: number) => Settings): Promise<void> {
  for (const [me, node] of nodes.entries())
    await node.exec(["nft", "-f", "-"], { input: rulesetOf(filterOf(nodes, me, settings(me)), true) });
}

async function counted(node: Host, counter: string): Promise<number> {
  const { stdout } = await node.exec(["nft", "list", "counter", "netdev", TABLE, counter]);
  return Number(/packets (\d+)/.exec(stdout)![1]);
}

t.test("the filter of three nodes", { skip: testbedImpossible() ?? false }, async (t) => {
  await using bed = await createTestbed({ nodes: 0, hosts: 4 });
  const [nodes, client] = [bed.hosts.slice(0, 3), bed.hosts[3]!];
  for (const node of nodes) {
    const place = `ip addr add ${IP}/24 dev lan; ip addr add ${IP6}/64 dev lan nodad preferred_lft 0; bridge fdb add ${VIRTUAL_MAC} dev lan self`;
    await node.exec(["bash", "-ec", place]);
  }
  const modes = { directed: undefined, invisible: VIRTUAL_MAC };

  for (const [mode, virtualMac] of Object.entries(modes))
    await t.test(`${mode}: 100 000 clients, each with one node`, async (t) => {
      for (const [host, clients] of Object.entries(CLIENTS)) {
        await load(nodes, () => ({ virtualMac }));
        const to = virtualMac ?? nodes[0]!.mac("lan");
        const flood = [process.execPath, `${import.meta.dir}/farm_flood.ts`];
        await client.exec([...flood, client.mac("lan"), to, host, "5353", `${clients}`]);
        const counts = await Promise.all(nodes.map((node) => counted(node, "own")));
        t.equal(
          counts.reduce((sum, count) => sum + count, 0),
          clients,
          `${host}: none was lost or taken twice`,
        );
        for (const [at, share] of [0.5, 0.25, 0.25].entries())
          t.ok(Math.abs(counts[at]! / clients - share) < 0.02, `${NAMES[at]} has ${counts[at]} of them`);
      }
    });

  await t.test("trap 37: nodes that believe different things never both answer", async (t) => {
    const server = `Bun.serve({ hostname: "${IP}", port: 8080, fetch: () => new Response(require("os").hostname()) });`;
    const servers = await Promise.all(nodes.map((node) => node.spawn([process.execPath, "-e", server])));
    for (const node of nodes)
      await until("it listens", async () =>
        (await node.exec(["ss", "-Hlnt", "sport = 8080"])).stdout.includes(IP),
      );
    const ask = `const one = () => fetch("http://${IP}:8080/", { headers: { connection: "close" }, signal: AbortSignal.timeout(3000) }).then((r) => r.text(), (e) => e.name);
console.log(JSON.stringify(await Promise.all(Array.from({ length: 100 }, one))));`;
    // The first two believe that all of the second's are theirs.
    const both = (me: number): number[] =>
      me === 0 ? OWNERS.map((owner) => (owner === 1 ? 0 : owner)) : OWNERS;
    const answers = async (): Promise<Record<string, number>> => {
      const said = JSON.parse((await client.exec([process.execPath, "-e", ask])).stdout) as string[];
      return Object.fromEntries(
        [...Map.groupBy(said, (name) => name)].map(([name, all]) => [name, all.length]),
      );
    };
    await load(nodes, (me) => ({ virtualMac: VIRTUAL_MAC, settled: false, owners: both(me) }));
    const said = await answers();
    t.same(
      inOrder(Object.keys(said)),
      ["h1", "h3"],
      `the one with the lower number answers: ${JSON.stringify(said)}`,
    );
    await load(nodes, (me) => ({
      virtualMac: VIRTUAL_MAC,
      settled: me !== 2,
      owners: me === 2 ? OWNERS.map(() => 2) : OWNERS,
    }));
    t.same(
      inOrder(Object.keys(await answers())),
      NAMES,
      "one that comes asks those that are there, and they do not know of it yet",
    );
    for (const node of nodes) t.ok((await counted(node, "own")) > 0);
    for (const [at, { pid }] of servers.entries()) nodes[at]!.kill9(pid);
  });

  await t.test("the buckets of a node that is gone are taken over before the rest", async (t) => {
    const buckets = async (node: Host): Promise<string[][]> =>
      Promise.all(
        ["map owner", "set mine"].map(async (what) => {
          const listed = await node.exec([
            "nft",
            "list",
            ...what.split(" ").toSpliced(1, 0, "netdev", TABLE),
          ]);
          return inOrder(listed.stdout.replace(/.*elements = \{|[\s}]*$/gs, "").split(/,\s+/));
        }),
      );
    await load(nodes, () => ({}));
    const gone = 2;
    const owners = assign({ nodes: NAMES, weights: WEIGHTS, priority: [] }, ["h1", "h2"]).map((name) =>
      NAMES.indexOf(name),
    );
    for (const me of [0, 1]) {
      const before = filterOf(nodes, me, {});
      const isGone = ({ number }: { number: number }) => number === gone;
      const after = {
        ...before,
        owners,
        peers: before.peers.filter((peer) => !isGone(peer)),
        absent: before.peers.filter(isGone),
      };
      const moves = movesBetween(before, after)!;
      t.equal(movesBetween(after, before), null, "a node that comes is told of with the whole");
      t.equal(movesBetween(before, { ...after, virtualMac: VIRTUAL_MAC }), null, "and one that all hear");
      t.equal(movesBetween(before, { ...after, owners: before.owners }), null, "nothing moves");
      const script = `import { changeMarks } from "${import.meta.dir}/../../core/network/nft.ts"; changeMarks(${JSON.stringify(TABLE)}, ${JSON.stringify(moves)});`;
      await nodes[me]!.exec([process.execPath, "-e", script]);
      const moved = await buckets(nodes[me]!);
      const { stderr } = await nodes[me]!.exec([process.execPath, "-e", script], { mayFail: true });
      t.match(stderr, /cannot change the sets of holdfast_test_farm.*ENOENT/, "not a second time");
      t.same(await buckets(nodes[me]!), moved, "all or nothing");
      await nodes[me]!.exec(["nft", "-f", "-"], { input: rulesetOf(after, true) });
      t.same(moved, await buckets(nodes[me]!), `${NAMES[me]} has what the ruleset says`);
    }
  });

  await t.test("nft waits for its text, and another is started where it was killed", async (t) => {
    const host = bed.hosts[3]!;
    const script = `import { changeRules } from "${import.meta.dir}/../../core/network/nft.ts";
const waiting = () => Bun.spawnSync(["pgrep", "-P", String(process.pid), "-x", "nft"]).stdout.toString().trim();
const seen = [];
for (const table of ["one", "two", "three"]) {
  await changeRules(\`add table netdev \${table}\n\`);
  while (waiting() === "") await Bun.sleep(20);
  seen.push(waiting());
  if (table === "two") process.kill(Number(waiting()), "SIGKILL");
  if (table === "two") while (waiting() !== "") await Bun.sleep(20);
}
const refused = await changeRules("nonsense").catch(({ message }) => message);
console.log(JSON.stringify({ seen, refused }));`;
    const { stdout } = await host.exec([process.execPath, "-e", script]);
    const { seen, refused } = JSON.parse(stdout) as { seen: string[]; refused: string };
    t.equal(new Set(seen).size, 3, "each text has a program of its own");
    t.match(refused, /nft refused the farm's rules: .*nonsense/s);
    const { stdout: tables } = await host.exec(["nft", "list", "tables"]);
    for (const table of ["one", "two", "three"])
      t.match(tables, `table netdev ${table}`, `${table} is carried out`);
    t.equal((await host.exec(["pgrep", "-x", "nft"], { mayFail: true })).stdout, "", "none is left");
  });
});
