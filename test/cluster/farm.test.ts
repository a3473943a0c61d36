/**
 * A farm with a virtual IP of its own on three real nodes: every client has one node, connections stay where they are whoever fails or comes, and
 * nothing of ours is left behind on a machine.
 */
import t, { type Test } from "tap";
import { clientAddress, type Stay, type Visits } from "./farm_client.ts";
import { createFarm, FARM_IP, FARM_IP6, type FarmLab, UDP_PORT } from "./farm_lab.ts";
import { type Node, testbedImpossible, until } from "./testbed.ts";

t.setTimeout(400_000);

const ALL = ["n1", "n2", "n3"];
const FOREIGN = `add table inet foreign
add chain inet foreign input { type filter hook input priority 0 ; policy accept ; }
add rule inet foreign input tcp dport 9999 drop
add table netdev foreign
add chain netdev foreign ingress { type filter hook ingress device "lan" priority 0 ; policy accept ; }
add rule netdev foreign ingress tcp dport 9999 drop
`;

const total = (tally: Record<string, number>): number => Object.values(tally).reduce((sum, n) => sum + n, 0);

/** Every client was answered, and each node by its share, within 2 % of all clients. */
function isShared(t: Test, visits: Visits, what: string, shares: Record<string, number>): void {
  t.same(visits.failures, {}, `${what}: every client was answered`);
  const all = total(visits.answers);
  const off = Object.entries(shares).map(([node, share]) =>
    Math.abs((visits.answers[node] ?? 0) / all - share),
  );
  t.ok(Math.max(...off) < 0.02, `${what}: within 2 % of the weights: ${JSON.stringify(visits.answers)}`);
}

/** What a node that is not one of the farm's would have: rules, addresses, settings. */
async function marksOf(node: Node): Promise<string> {
  const look =
    "nft list ruleset; ip -o addr | sed 's/valid_lft.*//'; ip route; ip -6 route; grep -r . /proc/sys/net/ipv4/conf/*/arp_* /proc/sys/net/ipv4/conf/*/promote_secondaries /proc/sys/net/ipv4/conf/*/rp_filter /proc/sys/net/ipv4/ip_forward 2>/dev/null";
  return (await node.exec(["bash", "-c", look])).stdout.replace(
    / pref medium| expires \d+sec| metric \d+/g,
    "",
  );
}

/** Connections with nodes that lived all the time fared well; returns how many ended of those whose node did not. */
function survived(t: Test, what: string, stays: Stay[], dead?: Node): number {
  const own = (stay: Stay): boolean => stay.nodes[0] === dead?.name;
  const others = stays.filter((stay) => !own(stay));
  t.ok(others.length > stays.length / 3, `${what}: ${others.length} connections with others`);
  const bad = others.filter(
    ({ end, nodes, openMs, answers }) => end !== "" || nodes.length !== 1 || openMs > 0 || answers < 5,
  );
  t.same(bad, [], `${what}: none was reset, moved or left waiting`);
  return stays.filter((stay) => own(stay) && stay.end !== "").length;
}

t.test(
  "a farm shares the clients of its virtual IP out",
  { skip: testbedImpossible() ?? false },
  async (t) => {
    const lab: FarmLab = await createFarm();
    await using _bed = lab.bed;
    const [n1, n2, n3] = lab.nodes as [Node, Node, Node];
    for (const node of lab.nodes) await node.exec(["nft", "-f", "-"], { input: FOREIGN });
    const before = await marksOf(n2);
    await n1.holdfast(["start", "web", "--all"]);
    await lab.shared(ALL);
    const third = { n1: 1 / 3, n2: 1 / 3, n3: 1 / 3 };

    await t.test(
      "trap 16: a node that is frozen while it announces the address says no more when it is thawed",
      async (t) => {
        const front = await lab.front();
        const daemon = front.processes().find(({ command }) => command.includes(" daemon --var"))!.pid;
        front.signal(daemon, "SIGSTOP");
        await lab.shared(ALL.filter((name) => name !== front.name));
        // So that it does not serve again, and rightly says so.
        await front.exec([
          "bash",
          "-c",
          `rm -f /run/nginx.pid; mv ${front.dataDir}/nginx.conf ${front.dataDir}/away`,
        ]);
        const said = `arp src host ${FARM_IP} and ether src ${front.mac("lan")}`;
        const ear = await lab.host.spawn(["tcpdump", "-n", "-l", "-i", "lan", said]);
        await Bun.sleep(500);
        front.signal(daemon, "SIGCONT");
        await front.holdfast(["wait", "web", "STOP"]);
        ear.signal("SIGINT");
        t.notMatch(await new Response(ear.stdout).text(), "ARP");
        await front.exec(["mv", `${front.dataDir}/away`, `${front.dataDir}/nginx.conf`]);
        await front.holdfast(["start", "web"]);
        await lab.shared(ALL);
      },
    );

    await t.test("each client has one node", async (t) => {
      const first = await lab.visit(3000);
      isShared(t, first, "IPv4", third);
      const again = Object.entries((await lab.visit(1000)).nodes);
      t.same(
        again.filter(([client, node]) => first.nodes[client] !== node),
        [],
        "the same again",
      );
      isShared(t, await lab.visit(2000, { address: FARM_IP6 }), "IPv6", third);
      t.same((await lab.visit(500, { port: 8081 })).failures, {}, "by connection");
      for (const node of lab.nodes) await lab.answerByUdp(node, FARM_IP);
      isShared(t, await lab.visit(2000, { by: "udp", port: UDP_PORT }), "UDP", third);
      const fragments = await lab.visit(200, { by: "fragments", port: UDP_PORT });
      t.same(fragments.failures, {}, "trap 38: fragments find one node, all of them");
      t.same((await lab.visit(1, { port: 9999 })).answers, {}, "what no rule names is not answered");
      t.equal((await lab.host.whoAnswers(FARM_IP)).length, 1, "one node answers ARP");
      t.equal((await lab.host.whoAnswers(FARM_IP6)).length, 1, "and neighbour discovery");
      t.match((await n1.holdfast(["status"])).stdout, /web +n2 +UP +Ready +share 33 %/);
      t.match((await n1.holdfast(["farm", "web"])).stdout, /n3 {2}open {2}85\/256 \(33 %\)/);
      const { stdout } = await n2.exec([
        process.execPath,
        "-e",
        `console.log(await (await fetch("http://${FARM_IP}:8080/")).text())`,
      ]);
      t.equal(stdout.trim(), "n2", "trap 40: a node is its own client");
    });

    await t.test(
      "a node fails, comes back, and another fails: the others' connections go on (trap 39)",
      async (t) => {
        const front = await lab.front();
        let stays = await lab.stay(120);
        let more = await lab.stay(40, { address: FARM_IP6, port: 8081 });
        await front.powerCut();
        await lab.shared(ALL.filter((name) => name !== front.name));
        t.same((await lab.visit(300)).failures, {}, "new clients are answered");
        // A client repeats what was not acknowledged ever more slowly.
        await Bun.sleep(4500);
        const ended = survived(t, `${front.name} was cut, which answered ARP`, await stays.end(), front);
        t.ok(ended > 0, "its own are told that they are nobody's");
        survived(t, "IPv6", await more.end(), front);

        stays = await lab.stay(120);
        more = await lab.stay(40, { address: FARM_IP6, port: 8081 });
        await lab.boot(front);
        await lab.shared(ALL);
        t.equal((await lab.front()).name, front.name);
        t.same((await lab.visit(300)).failures, {});
        survived(t, "a node came back, and answers ARP", await stays.end());
        survived(t, "IPv6", await more.end());

        const other = lab.nodes.find((node) => node !== front)!;
        stays = await lab.stay(120);
        await other.powerCut();
        await lab.shared(ALL.filter((name) => name !== other.name));
        await Bun.sleep(1000);
        survived(t, `${other.name} was cut, which answered nothing`, await stays.end(), other);
        await lab.boot(other);
        for (const node of [front, other]) await node.exec(["nft", "-f", "-"], { input: FOREIGN });
        await lab.shared(ALL);
      },
    );

    await t.test(
      "a node that its clients cannot reach serves none, though it is heard elsewhere",
      async (t) => {
        await lab.bed.isolate(n2, "lan");
        await lab.shared(["n1", "n3"], [n1, n3]);
        t.same((await lab.visit(300)).failures, {});
        await lab.bed.heal();
        await lab.shared(ALL);
        t.same((await lab.visit(300)).failures, {}, "trap 37: two sides that agree again");
        await n3.exec(["ip", "link", "set", "lan", "down"]);
        await lab.shared(["n1", "n2"], [n1, n2]);
        t.same((await lab.visit(300)).failures, {}, "its interface is down");
        t.match((await lab.status(n3))["n3"], { buckets: 0, held: /interface lan (is down|has no carrier)/ });
        const told = async () =>
          /interface lan (is down|has no carrier)/.test((await lab.status(n1))["n3"]?.held ?? "");
        await until("n1 tells why n3 serves nobody", told);
        await n3.exec(["ip", "link", "set", "lan", "up"]);
        await n3.exec(["ip", "addr", "add", "fd77::3/64", "dev", "lan", "nodad"]);
        await lab.prepare(n3);
        await lab.shared(ALL);
        t.same(
          (await lab.visit(300, { address: FARM_IP6 })).failures,
          {},
          "the kernel had taken its IPv6 addresses away",
        );
      },
    );

    await t.test("weights change, a daemon dies, a firewall is loaded anew: connections go on", async (t) => {
      const stays = await lab.stay(120);
      n1.kill9(n1.processes().find(({ command }) => command.includes(" daemon --var"))!.pid);
      await n1.startDaemon();
      await lab.shared(ALL);
      await n3.exec(["nft", "flush", "ruleset"]);
      await until(
        "the filter is put back",
        async () =>
          (await lab.report(n3)) &&
          (await n3.exec(["nft", "list", "ruleset"])).stdout.includes("chain tcp4_bucket"),
      );
      await lab.apply({ n1: 2, n2: 1, n3: 1 });
      await lab.shared(ALL);
      isShared(t, await lab.visit(3000), "weights 2, 1, 1", { n1: 0.5, n2: 0.25, n3: 0.25 });
      survived(t, "all of it", await stays.end());
    });

    await t.test("a node is drained under load", async (t) => {
      const own = await lab.stay(1, { first: await clientOf(lab, "n2") });
      const [drained, load] = await Promise.all([
        n2.holdfast(["drain", "web", "--timeout", "20s"]),
        (async () => {
          const before = await lab.visit(1000);
          await lab.shared(["n1", "n3"]);
          const results = [before, await lab.visit(1000)];
          t.same(
            (await own.end()).map(({ nodes, end }) => [nodes, end]),
            [[["n2"], ""]],
            "its connection ended by itself",
          );
          return results;
        })(),
      ]);
      for (const { failures } of load) t.same(failures, {});
      t.notOk(load[1]!.answers["n2"], "it got no new client");
      t.match(drained.stdout, /every connection has ended; stopped on n2/);
      await n2.holdfast(["wait", "web", "STOP"]);
      t.equal(
        await marksOf(n2),
        before,
        "nothing of ours is left there, and the foreign rules are as they were",
      );
      await n2.holdfast(["start", "web"]);
      await lab.shared(ALL);
    });

    await t.test("what a crash leaves is cleared away at the next start", async (t) => {
      await n2.holdfast(["boot", "web", "never"]);
      for (const { pid, command } of n2.processes())
        if (/holdfast .*(daemon|__guardian)/.test(command)) n2.kill9(pid);
      await lab.shared(["n1", "n3"]);
      await n2.startDaemon();
      await n2.holdfast(["wait", "web", "STOP"]);
      await n2.exec(["bash", "-c", "kill -9 $(pgrep nginx) 2>/dev/null; true"]);
      t.equal(await marksOf(n2), before);
    });
  },
);

/** The number of a client that a node serves. */
async function clientOf(lab: FarmLab, name: string): Promise<number> {
  const { nodes } = await lab.visit(50, { first: 5000 });
  const isItsOwn = (n: number): boolean => nodes[clientAddress(n, 4)] === name;
  return Array.from({ length: 50 }, (_, n) => 5000 + n).find(isItsOwn)!;
}
