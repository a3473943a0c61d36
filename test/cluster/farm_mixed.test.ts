/**
 * While a farm changes, some of its nodes go by the new assignment and some by the old one for a moment, and where a network heals, some hear each other before
 * others do. Whatever the mixture, what opens a connection is taken by exactly one node that serves, and what belongs to one by the node that has it.
 */
import t, { type Test } from "tap";
import { ADDRESSES, type Batch, believe, counted, type Moment, send, VIRTUAL_MAC } from "./farm_kernels.ts";
import { createTestbed, type Host, testbedImpossible } from "./testbed.ts";

t.setTimeout(400_000);

const CLIENTS = 500;
const MANY = 70_000;
const MANY_RATE = 200_000;
const NUMBERS = [0, 1, 2];
const names = NUMBERS.map((number) => `n${number}`);

/** The second node changes. One that comes tells the others when its own filter is in place; one that leaves tells them first. */
const CHANGES: { what: string; before: Moment; after: Moment; knowsFirst: boolean }[] = [
  {
    what: "a node is drained",
    before: ["open", "open", "open"],
    after: ["open", "draining", "open"],
    knowsFirst: false,
  },
  {
    what: "a node comes",
    before: ["open", "closed", "open"],
    after: ["open", "open", "open"],
    knowsFirst: true,
  },
];

const counts = (hosts: readonly Host[]): Promise<number[]> => Promise.all(hosts.map((host) => counted(host)));

/** The nodes have the farm's addresses, and hear what is told to that of `mode: invisible`. */
async function placeAddresses(hosts: readonly Host[]): Promise<void> {
  const place = ADDRESSES.map(
    (address) => `ip addr add ${address} dev lan ${address.includes(":") ? "nodad" : ""}`,
  );
  place.push(`bridge fdb add ${VIRTUAL_MAC} dev lan self`);
  for (const host of hosts) await host.exec(["bash", "-ec", place.join("; ")]);
}

/** By node, how many packets it takes of these. */
async function taken(client: Host, hosts: readonly Host[], ...batches: Batch[]): Promise<number[]> {
  const before = await counts(hosts);
  await send(client, ...batches);
  return (await counts(hosts)).map((count, at) => count - before[at]!);
}

t.test("new connections while nodes disagree", { skip: testbedImpossible() ?? false }, async (t) => {
  const bed = await createTestbed({ nodes: 0, hosts: 4, lans: ["lan"] });
  await using _bed = bed;
  const [client, ...hosts] = bed.hosts as [Host, ...Host[]];
  for (const { what, before, after, knowsFirst } of CHANGES)
    for (let mixture = 0; mixture < 2 ** NUMBERS.length; mixture++) {
      const knows = NUMBERS.map((number) => ((mixture >> number) & 1) === 1);
      if (knowsFirst && !knows[1]!) continue;
      await Promise.all(
        hosts.map((_, number) => believe(hosts, number, { moment: knows[number]! ? after : before, before })),
      );
      await send(client, { to: hosts[0]!.mac("lan"), kind: "syn", clients: CLIENTS });
      const took = await counts(hosts);
      const told = `${what}, known to ${names.filter((_, number) => knows[number]!).join(", ") || "none"}`;
      t.equal(
        took.reduce((sum, count) => sum + count),
        CLIENTS,
        `${told}: each connection has a node: ${took.join(", ")}`,
      );
    }
});

t.test("invisible: who takes a bucket over asks first", { skip: testbedImpossible() ?? false }, async (t) => {
  const bed = await createTestbed({ nodes: 0, hosts: 4, lans: ["lan"] });
  await using _bed = bed;
  const [client, ...hosts] = bed.hosts as [Host, ...Host[]];
  await placeAddresses(hosts);
  const [before, after]: Moment[] = [
    ["open", "open", "open"],
    ["open", "draining", "open"],
  ];
  const believing = (knows: (me: number) => boolean) =>
    Promise.all(
      NUMBERS.map((me) =>
        believe(hosts, me, {
          ...(knows(me) ? { moment: after!, before: before! } : { moment: before! }),
          ...{ isInvisible: true, isSettled: !knows(me) },
        }),
      ),
    );
  const all = { kind: "syn", clients: CLIENTS } as const;
  await believing(() => false);
  const first = await taken(client, hosts, { ...all, to: VIRTUAL_MAC });
  for (const knowing of [[0], [2], [0, 2]]) {
    await believing((me) => knowing.includes(me));
    const told = `${knowing.map((me) => names[me]).join(" and ")} know`;
    t.same(
      await taken(client, hosts, { ...all, to: VIRTUAL_MAC }),
      first,
      `${told}: each has one node still`,
    );
    for (const me of knowing) {
      await believing((me) => knowing.includes(me));
      const went = await taken(client, hosts, { ...all, to: hosts[me]!.mac("lan") });
      t.same([went[me], went[1]], [first[me], 0], `${told}: ${names[me]} takes none that is another's still`);
    }
  }
  await believing(() => true);
  const last = await taken(client, hosts, { ...all, to: VIRTUAL_MAC });
  t.same(
    [last[0]! + last[2]!, last[1]],
    [CLIENTS, 0],
    "and those of the node that is drained have another then",
  );
});

t.test("invisible: a node is dead, and some know", { skip: testbedImpossible() ?? false }, async (t) => {
  const bed = await createTestbed({ nodes: 0, hosts: 4, lans: ["lan"] });
  await using _bed = bed;
  const [client, ...hosts] = bed.hosts as [Host, ...Host[]];
  await placeAddresses(hosts);
  const before: Moment = ["open", "open", "open"];
  const batch = { kind: "syn", clients: CLIENTS, to: VIRTUAL_MAC } as const;
  for (const dead of NUMBERS) {
    const alive = NUMBERS.filter((number) => number !== dead);
    const after = before.map((stage, number) => (number === dead ? undefined : stage));
    const took = async (knows: readonly number[]): Promise<number[]> => {
      for (const me of alive)
        await believe(hosts, me, {
          ...(knows.includes(me) ? { moment: after, before } : { moment: before }),
          ...{ isInvisible: true, isSettled: knows.length !== 1 || !knows.includes(me) },
        });
      return await taken(client, hosts, batch);
    };
    await believe(hosts, dead, { moment: before, isInvisible: true });
    const first = await took([]);
    await hosts[dead]!.exec(["ip", "link", "set", "lan", "down"]);
    const last = await took(alive);
    for (const me of alive) {
      const expected = first.map((count, number) =>
        number === dead ? 0 : number === me ? last[me]! : count,
      );
      t.same(await took([me]), expected, `${names[dead]} is dead, ${names[me]} knows: it asks who is left`);
    }
    await hosts[dead]!.exec(["ip", "link", "set", "lan", "up"]);
  }
});

t.test("many connections that end at once", { skip: testbedImpossible() ?? false }, async (t) => {
  const bed = await createTestbed({ nodes: 0, hosts: 4, lans: ["lan"] });
  await using _bed = bed;
  const [client, ...hosts] = bed.hosts as [Host, ...Host[]];
  await believe(hosts, 0, { moment: ["open", "closed", "closed"] });
  const to = hosts[0]!.mac("lan");
  for (const kind of ["syn", "fin", "ack"] as const)
    await send(client, { to, kind, clients: MANY, rate: MANY_RATE });
  t.equal(await counted(hosts[0]!), 3 * MANY, "all that belongs to them was taken");
  t.equal(await counted(hosts[0]!, "rounds"), 0, "the last word of each is not asked for elsewhere");
});

t.test("a client uses its ports again", { skip: testbedImpossible() ?? false }, async (t) => {
  const bed = await createTestbed({ nodes: 0, hosts: 4, lans: ["lan"] });
  await using _bed = bed;
  const [client, ...hosts] = bed.hosts as [Host, ...Host[]];
  const to = hosts[0]!.mac("lan");
  for (const [what, ...kinds] of [
    ["nothing tells the first node that these have ended: nobody answers a server's reset", "syn"],
    ["these have just ended", "syn", "fin"],
  ] as const) {
    await believe(hosts, 0, { moment: ["open", "closed", "closed"] });
    for (const kind of kinds) await send(client, { to, kind, clients: CLIENTS });
    for (const me of NUMBERS) await believe(hosts, me, { moment: ["open", "open", "open"], anew: me > 0 });
    const opened = await taken(client, hosts, { to, kind: "syn", clients: CLIENTS });
    t.ok(opened[1]! > 0 && opened[2]! > 0, `the clients are shared out anew: ${opened.join(", ")}`);
    const went = await taken(client, hosts, { to, kind: "ack", clients: CLIENTS });
    t.same(went, opened, `${what}: each new connection goes on where it was opened`);
  }
});

t.test("invisible: a client uses its ports again", { skip: testbedImpossible() ?? false }, async (t) => {
  const bed = await createTestbed({ nodes: 0, hosts: 4, lans: ["lan"] });
  await using _bed = bed;
  const [client, ...hosts] = bed.hosts as [Host, ...Host[]];
  await placeAddresses(hosts);
  const moment: Moment = ["open", "closed", "closed"];
  for (const me of NUMBERS) await believe(hosts, me, { moment, isInvisible: true, isSettled: me > 0 });
  for (const when of ["at first", "again"])
    t.same(
      await taken(client, hosts, { to: VIRTUAL_MAC, kind: "syn", clients: CLIENTS }),
      [CLIENTS, 0, 0],
      `${when}: the node that asks takes them`,
    );
});

/** By node, the others that it hears: a network that was cut in pieces heals, and no heartbeat has come through yet; or some have, some of them one way. */
const CUT: readonly (readonly (readonly number[])[])[] = [
  [[], [], []],
  [[], [2], [1]],
];
const HALF_HEALED: typeof CUT = [
  [[1], [2], [1]],
  [[1, 2], [2], [1]],
  [[2], [2], [1]],
  [[1, 2], [0], [0]],
  [[1], [2], [0]],
];
const FEW = 40;
const DOUBT_MS = 30;

t.test("a connection of a node that is not heard", { skip: testbedImpossible() ?? false }, async (t) => {
  const bed = await createTestbed({ nodes: 0, hosts: 4, lans: ["lan"] });
  await using _bed = bed;
  const [client, ...hosts] = bed.hosts as [Host, ...Host[]];
  await placeAddresses(hosts);
  for (const isInvisible of [false, true])
    for (const hearing of [...CUT, ...HALF_HEALED]) {
      const told = `${isInvisible ? "invisible" : "directed"}, heard: ${hearing.map((heard) => heard.join("+") || "none").join(", ")}`;
      await goesOn(t, told, client, hosts, hearing, isInvisible);
    }
});

/** Connections that each node has from when it was alone go on there, wherever their packets come in; nobody's are answered. */
async function goesOn(
  t: Test,
  told: string,
  client: Host,
  hosts: readonly Host[],
  hearing: (typeof CUT)[number],
  isInvisible: boolean,
): Promise<void> {
  const batch = (kind: Batch["kind"], seed: number, to: string): Batch[] =>
    ADDRESSES.map((address) => ({ kind, to, seed: seed + 1, clients: FEW, address }));
  const believing = async (heard: (me: number) => readonly number[], anew: boolean): Promise<void> => {
    for (const me of NUMBERS) {
      const moment = NUMBERS.map((other) => (other === me || heard(me).includes(other) ? "open" : undefined));
      await believe(hosts, me, { moment, isInvisible, doubtMs: DOUBT_MS, anew });
    }
  };
  await believing(() => [], true);
  await send(client, ...NUMBERS.flatMap((has) => batch("syn", has, hosts[has]!.mac("lan"))));
  await believing((me) => hearing[me]!, false);
  const ways = isInvisible ? [VIRTUAL_MAC] : hosts.map((host) => host.mac("lan"));
  const acks = NUMBERS.flatMap((has) => ways.flatMap((to) => batch("ack", has, to)));
  const own = ways.length * ADDRESSES.length * FEW;
  for (const when of ["at first", "after a while"]) {
    t.same(await taken(client, hosts, ...acks), [own, own, own], `${told}: each goes on, ${when}`);
    await Bun.sleep(2 * DOUBT_MS);
  }
  const [way] = ways as [string];
  t.same(await taken(client, hosts, ...batch("ack", 99, way)), [0, 0, 0], `${told}: nobody's are doubted`);
  // Where nodes disagree about who is there, it is not said who is to answer.
  if (!CUT.includes(hearing)) return;
  await Bun.sleep(2 * DOUBT_MS);
  const answered = await taken(client, hosts, ...batch("ack", 99, way));
  const sum = answered.reduce((all, count) => all + count);
  t.ok(sum >= ADDRESSES.length * FEW, `${told}: and answered then: ${answered.join(", ")}`);
}
