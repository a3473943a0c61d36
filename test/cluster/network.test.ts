/** Virtual addresses between real machines, as a third one sees them: trap 22, and the kernel-side deadline of G4. */
import t, { type Test } from "tap";
import type { AddressReport, ReleaseReport } from "../../core/network/virtual_ip.ts";
import type { Order } from "./network_agent.ts";
import {
  createTestbed,
  type Host,
  type MachineProcess,
  type Node,
  type Testbed,
  testbedImpossible,
  until,
} from "./testbed.ts";

t.setTimeout(400_000);

const skip = testbedImpossible() ?? false;
const VIP = "10.77.0.100/24";
const VIP6 = "fd77::100/64";
const host = (cidr: string): string => cidr.split("/")[0]!;

/** The network code, running on one machine. */
class Agent {
  constructor(
    readonly process: MachineProcess,
    readonly socket: string,
  ) {}

  static async start(bed: Testbed, node: Node): Promise<Agent> {
    const socket = `${bed.dir}/${node.name}-agent-${crypto.randomUUID().slice(0, 8)}.sock`;
    const script = `${import.meta.dir}/network_agent.ts`;
    const lans = JSON.stringify(node.addresses);
    const process_ = await node.spawn([process.execPath, script, socket, lans], { log: node.daemonLog });
    const agent = new Agent(process_, socket);
    await until("the agent answers", () =>
      agent.ask({ do: "announce" }).then(
        () => true,
        () => false,
      ),
    );
    return agent;
  }

  async ask<T>(order: Order): Promise<{ result: T; error?: string; ms: number }> {
    const response = await fetch("http://agent/", {
      unix: this.socket,
      method: "POST",
      body: JSON.stringify(order),
    });
    return (await response.json()) as { result: T; error?: string; ms: number };
  }

  /** Throws when refused. */
  async must<T>(order: Order): Promise<T> {
    const { result, error } = await this.ask<T>(order);
    if (error !== undefined) throw new Error(error);
    return result;
  }
}

async function bedWithAgents(t: {
  teardown(fn: () => unknown): void;
}): Promise<{ bed: Testbed; h1: Host; agents: [Agent, Agent] }> {
  const bed = await createTestbed({ diskMiB: 32 });
  t.teardown(() => bed.destroy());
  const [first, second] = await Promise.all([Agent.start(bed, bed.node(1)), Agent.start(bed, bed.node(2))]);
  return { bed, h1: bed.hosts[0]!, agents: [first!, second!] };
}

t.test("trap 22: neighbours follow the address at once, in IPv4 and IPv6", { skip }, async (t) => {
  const { bed, h1, agents } = await bedWithAgents(t);
  for (const address of [VIP, VIP6]) await agents[0].must({ do: "up", address });
  for (const address of [VIP, VIP6]) {
    t.ok(await h1.pings(host(address)), `${address} answers at once`);
    t.same(await h1.whoAnswers(host(address)), ["n1"]);
    t.equal((await h1.arpTable())[host(address)], bed.node(1).mac("lan"));
  }
  await bed.node(1).powerCut();
  for (const address of [VIP, VIP6]) {
    const { error, ms } = await agents[1].ask({ do: "up", address });
    t.equal(error, undefined);
    t.comment(`taken in ${ms.toFixed(0)} ms`);
    t.ok(ms < 400, "quick");
    // Without asking: the table must have changed by what was announced.
    t.equal(
      (await h1.arpTable())[host(address)],
      bed.node(2).mac("lan"),
      "the third machine's table has changed",
    );
    t.ok(await h1.pings(host(address)));
    t.same(await h1.whoAnswers(host(address)), ["n2"]);
  }
});

/** What n1 announces of an address of which it has the right for so long: once a second, and when it is told to after 2.3 s. */
async function announcements(t: Test, goodForMs?: number): Promise<{ requests: number; replies: number }> {
  const { bed, h1, agents } = await bedWithAgents(t);
  const listener = await h1.spawn(["tcpdump", "-n", "-l", "-i", "lan", `arp and arp src host ${host(VIP)}`]);
  await Bun.sleep(500);
  await agents[0].must({ do: "up", address: VIP, ...(goodForMs === undefined ? {} : { goodForMs }) });
  await Bun.sleep(2300);
  await agents[0].must({ do: "announce" });
  await Bun.sleep(200);
  listener.signal("SIGINT");
  const heard = await new Response(listener.stdout).text();
  t.ok(heard.includes(bed.node(1).mac("lan")));
  const count = (what: RegExp): number => heard.match(what)?.length ?? 0;
  return { requests: count(/Request who-has/g), replies: count(/Reply/g) };
}

t.test("trap 22: announcements are repeated", { skip }, async (t) => {
  const { requests, replies } = await announcements(t);
  t.ok(requests >= 4 && replies >= 4, `4 times in both forms: ${requests} requests, ${replies} replies`);
});

t.test("trap 16: who has lost the right to an address announces it no more", { skip }, async (t) => {
  t.same(await announcements(t, 700), { requests: 1, replies: 1 }, "at first, and not when it was due again");
});

t.test("trap 22: an address on two machines is found before and after", { skip }, async (t) => {
  const { bed, agents } = await bedWithAgents(t);
  for (const address of [VIP, VIP6]) {
    await agents[0].must({ do: "up", address });
    const { error } = await agents[1].ask({ do: "up", address });
    t.match(error, /is in use: 02:77:00:00:00:01 on lan answers for it/);
    t.notMatch((await bed.node(2).exec(["ip", "addr"])).stdout, `${host(address)}/`, "it was not taken");
    const flags = address.includes(":") ? ["nodad"] : [];
    await bed.node(2).exec(["ip", "addr", "add", address, "dev", "lan", ...flags]);
    const reports = await agents[0].must<AddressReport[]>({ do: "check" });
    t.match(
      reports.find((report) => report.address === address),
      { state: "duplicate", detail: /02:77:00:00:00:02/ },
    );
    await bed.node(2).exec(["ip", "addr", "del", address, "dev", "lan"]);
    t.ok((await agents[0].must<AddressReport[]>({ do: "check" })).every(({ state }) => state === "up"));
  }
  await bed.node(1).exec(["ip", "addr", "del", VIP, "dev", "lan"]);
  t.match(await agents[0].must({ do: "check" }), [{ state: "missing" }, { state: "up" }]);
  const waiting = agents[1].ask({ do: "up", address: VIP6, options: { patienceMs: 5000 } });
  await Bun.sleep(300);
  await agents[0].must({ do: "down", address: VIP6 });
  t.equal((await waiting).error, undefined, "who is patient gets it once the other lets go");
  await bed.node(1).exec(["ip", "link", "set", "lan", "down"]);
  t.equal(
    (await agents[0].ask({ do: "announce" })).error,
    undefined,
    "nor does an interface that is down end a daemon",
  );
});

t.test("trap 22: connections to the address are reset when it goes, others live on", { skip }, async (t) => {
  const { bed, h1, agents } = await bedWithAgents(t);
  for (const address of [VIP, VIP6]) await agents[0].must({ do: "up", address });
  const server = `Bun.listen({ hostname: "::", port: 5000, socket: { data(socket, bytes) { socket.write(bytes); } } });
    Bun.listen({ hostname: "0.0.0.0", port: 5001, socket: { data(socket, bytes) { socket.write(bytes); } } })`;
  await bed.node(1).spawn([process.execPath, "-e", server]);
  const targets = [
    [host(VIP), 5000], [host(VIP), 5001], [host(VIP6), 5000], ["10.77.0.1", 5000],
  ] as const; // biome-ignore format: a table
  const clientScript = `const net = require("node:net"); const say = (...words) => console.log(words.join(" "));
    for (const [address, port] of ${JSON.stringify(targets)}) {
      const open = () => { const socket = net.connect(port, address);
        socket.on("connect", () => socket.write("x"));
        socket.on("data", () => say("open", address, port));
        socket.on("error", (error) => error.code === "ECONNREFUSED" ? setTimeout(open, 50) : say("error", address, port, error.code)); };
      open();
    } setTimeout(() => {}, 60000);`;
  const client = await h1.spawn([process.execPath, "-e", clientScript]);
  const said: string[] = [];
  void (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of client.stdout) said.push(...decoder.decode(chunk).trim().split("\n"));
  })();
  await until("all are connected", () => said.filter((line) => line.startsWith("open")).length === 4);
  const started = performance.now();
  const reports = await Promise.all(
    [VIP, VIP6].map((address) => agents[0].must<ReleaseReport>({ do: "down", address })),
  );
  t.same(reports, [
    { connectionsReset: 2, warning: null },
    { connectionsReset: 1, warning: null },
  ]);
  await until(
    "the clients know",
    () => said.filter((line) => line.startsWith("error")).length === 3,
    2000,
    5,
  );
  t.comment(`clients knew after ${(performance.now() - started).toFixed(0)} ms`);
  t.ok(said.filter((line) => line.startsWith("error")).every((line) => line.endsWith("ECONNRESET")));
  t.notOk(
    said.some((line) => line.startsWith("error 10.77.0.1 ")),
    "the node's own address is not touched",
  );
  const again = await h1.exec(["bash", "-c", "exec 3<>/dev/tcp/10.77.0.1/5001; echo y >&3; head -c1 <&3"]);
  t.equal(again.stdout, "y", "who listened goes on listening");
});

t.test("trap 22: nothing is left after a crash, and nothing goes twice wrong", { skip }, async (t) => {
  const { bed, agents } = await bedWithAgents(t);
  const node = bed.node(1);
  for (const address of [VIP, VIP6]) {
    await agents[0].must({ do: "up", address });
    await agents[0].must({ do: "up", address });
  }
  node.kill9(agents[0].process.pid);
  t.match((await node.exec(["ip", "addr"])).stdout, host(VIP), "a crash leaves the address");
  const next = await Agent.start(bed, node);
  await next.must({ do: "cleanup", addresses: [VIP, VIP6] });
  await next.must({ do: "cleanup", addresses: [VIP, VIP6] });
  const left = (await node.exec(["ip", "addr"])).stdout;
  t.notMatch(left, `${host(VIP)}/`);
  t.notMatch(left, `${host(VIP6)}/`);
  t.match(left, "10.77.0.1/24");
  t.match(left, "fd77::1/64");
  const wrong = await next.ask({ do: "up", address: "192.0.2.1/24" });
  t.match(wrong.error, /no interface of this node has an address in the network of 192.0.2.1\/24: name one/);
  t.match(
    (await next.ask({ do: "up", address: VIP, interface: "eth9" })).error,
    /no interface eth9 .*lan, repl/,
  );
});

t.test("trap 22: other addresses and routes survive the address", { skip }, async (t) => {
  const { bed, agents } = await bedWithAgents(t);
  const node = bed.node(1);
  await node.exec(["ip", "addr", "del", "10.77.0.1/24", "dev", "lan"]);
  await agents[0].must({ do: "up", address: VIP, interface: "lan" });
  await node.exec(["ip", "addr", "add", "10.77.0.1/24", "dev", "lan"]);
  await node.exec(["ip", "route", "add", "192.0.2.0/24", "via", "10.77.0.254", "src", host(VIP)]);
  t.same(await agents[0].must({ do: "down", address: VIP }), { connectionsReset: 0, warning: null });
  t.match(
    (await node.exec(["ip", "addr"])).stdout,
    "10.77.0.1/24",
    "the node's own address, though it came second",
  );
  const route = (await node.exec(["ip", "route"])).stdout;
  t.match(route, "192.0.2.0/24 via 10.77.0.254", "the route is still there");
  t.notMatch(route, host(VIP));
  await agents[0].must({ do: "up", address: VIP });
  t.match((await node.exec(["ip", "route"])).stdout, `192.0.2.0/24 via 10.77.0.254 dev lan src ${host(VIP)}`);
});

t.test("the node's own IPv6 connections do not start from the virtual address", { skip }, async (t) => {
  const { bed, agents } = await bedWithAgents(t);
  await agents[0].must({ do: "up", address: VIP6 });
  const { stdout } = await bed.node(1).exec(["ip", "-6", "route", "get", "fd77::101"]);
  t.match(stdout, "src fd77::1 ", "though the kernel prefers the newest");
});

t.test("an address falls silent when all of its holder's processes are stopped", { skip }, async (t) => {
  const { bed, h1, agents } = await bedWithAgents(t);
  const addresses = [VIP, VIP6];
  const missing = await agents[0].must({
    do: "deadline",
    module: "db-1",
    addresses,
    everyMs: 100,
    timeoutMs: 600,
  });
  t.equal(missing, null, "the kernel can");
  for (const address of addresses) await agents[0].must({ do: "up", address });
  await Bun.sleep(1200);
  for (const address of addresses) t.same(await h1.whoAnswers(host(address)), ["n1"], "refreshed, it speaks");
  const pinger = await h1.spawn(["ping", "-n", "-D", "-i", "0.02", host(VIP)]);
  await Bun.sleep(300);
  agents[0].process.signal("SIGSTOP");
  const stopped = Date.now() / 1000;
  await Bun.sleep(1000);
  for (const address of addresses) {
    t.same(await h1.whoAnswers(host(address)), [], `${address} is silent on the link`);
    t.notOk(await h1.pings(host(address)), `${address} is silent`);
  }
  t.ok(await h1.pings("10.77.0.1"), "the node's own address goes on");
  t.ok(await h1.pings("fd77::1"));
  pinger.signal("SIGINT");
  const answers = [...(await new Response(pinger.stdout).text()).matchAll(/^\[([\d.]+)\]/gm)];
  const last = Number(answers.at(-1)![1]) - stopped;
  t.comment(`the last answer left ${(last * 1000).toFixed(0)} ms after the stop`);
  t.ok(last < 0.65, "the last answer came within the deadline");
  for (const address of addresses) {
    const taken = await agents[1].ask({ do: "up", address });
    t.equal(taken.error, undefined, "another machine can take it while the zombie still holds it");
    t.same(await h1.whoAnswers(host(address)), ["n2"]);
  }
  const ofZombie = `ether src ${bed.node(1).mac("lan")}`;
  const claims = `(arp src host ${host(VIP)} or (icmp6 and ip6[40] = 136 and ip6[48:4] = 0xfd770000 and ip6[60:4] = 0x100))`;
  const traffic = `src host ${host(VIP)} or src host ${host(VIP6)} or ${claims}`;
  const ear = await h1.spawn(["tcpdump", "-n", "-l", "-i", "lan", `${ofZombie} and (${traffic})`]);
  await Bun.sleep(500);
  agents[0].process.signal("SIGCONT");
  await Bun.sleep(100);
  // It asks nobody whether it may: as though it had, just before it was stopped.
  await agents[0].must({ do: "announce" });
  for (const address of addresses) t.same(await h1.whoAnswers(host(address)), ["n2"]);
  ear.signal("SIGINT");
  t.notMatch(await new Response(ear.stdout).text(), / > |ARP/, "thawed, it does not get a packet out");
  for (const address of addresses) await agents[1].must({ do: "down", address });
  await agents[0].must({ do: "deadline", module: "db-1", addresses, everyMs: 100, timeoutMs: 600 });
  await until("it speaks again", async () => await h1.pings(host(VIP)));
  const node = bed.node(1);
  await node.exec(["nft", "flush", "ruleset"]);
  const rules = async (): Promise<string> => (await node.exec(["nft", "list", "ruleset"])).stdout;
  await until("rules that a firewall flushed are back", async () => (await rules()).includes("10.77.0.100"));
  t.ok(await h1.pings(host(VIP)));
  await agents[0].must({ do: "stopRefreshing" });
  await agents[0].must({ do: "silence" });
  t.notOk(await h1.pings(host(VIP), 100), "silenced at once");
});

t.test(
  "a daemon that is stopped while it takes an address does not take it when it wakes too late",
  { skip },
  async (t) => {
    const { h1, agents } = await bedWithAgents(t);
    const takes = async (
      goodForMs: number,
      meanwhile: () => Promise<unknown>,
    ): Promise<string | undefined> => {
      const taking = agents[0].ask({ do: "up", address: VIP, options: { probeMs: 400 }, goodForMs });
      await Bun.sleep(150);
      agents[0].process.signal("SIGSTOP");
      await meanwhile();
      agents[0].process.signal("SIGCONT");
      return (await taking).error;
    };
    t.match(await takes(800, () => Bun.sleep(900)), /was given up while it was being taken/);
    t.same(await h1.whoAnswers(host(VIP)), []);
    const other = async () => {
      await agents[1].must({ do: "up", address: VIP });
      await Bun.sleep(300);
    };
    t.match(await takes(60_000, other), /is in use/, "nor when another has it by then, whatever its right");
    t.same(await h1.whoAnswers(host(VIP)), ["n2"]);
    t.equal((await agents[0].must<AddressReport[]>({ do: "check" })).length, 0);
  },
);
