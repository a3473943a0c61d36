/**
 * Bad input at a running mirror: files, tokens, names, datagrams and connections that are wrong or hostile are refused, named
 * exactly, and nothing else happens: no hook runs, the application writes on, the virtual IP stays.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { localApi } from "../../core/api/api.ts";
import { type Life, onRealNodes, SCRIPTS, startLife } from "./life.ts";
import { VIRTUAL_IP } from "./mirror.ts";
import { type Node, until } from "./testbed.ts";

t.setTimeout(400_000);
const PORT = 9453;
const HEARTBEATS = PORT + 1;
const REPLICATION = PORT + 2;
/** Longest time without an acknowledged write: less than the heartbeats' timeout, so that nothing can have failed over. */
const LONGEST_PAUSE_MS = 3000;
/** A busy machine that tests something else beside us may well starve a daemon for a second. */
const HEARTBEAT = "{ interval: 200ms, timeout: 3s }";

type Answer = { data: { token: string } };
type ClusterState = { nodes: Record<string, { heartbeats: { counters: Record<string, number> } }> };

/** Attacks while the mirror serves, then asks whether anything else happened. */
async function undisturbed(t: Test, life: Life, what: string, attack: () => Promise<void>): Promise<void> {
  const { n1, n2, mirror } = life;
  const before = [life.application(n1), life.pidOf(n1, "daemon"), life.pidOf(n2, "__replication")];
  let seen = life.acknowledged().length;
  let since = performance.now();
  let longest = 0;
  const watch = setInterval(() => {
    const now = life.acknowledged().length;
    longest = Math.max(longest, performance.now() - since);
    if (now > seen) since = performance.now();
    seen = now;
  }, 50);
  await attack();
  await life.writesGoOn(what);
  clearInterval(watch);
  t.ok(
    longest < LONGEST_PAUSE_MS,
    `${what}: the application waited ${Math.round(longest)} ms at most for a write`,
  );
  life.hooks(what, [], []);
  t.same(
    [life.application(n1), life.pidOf(n1, "daemon"), life.pidOf(n2, "__replication")],
    before,
    `${what}: no process was started again`,
  );
  const states = await mirror.states();
  t.same(states, ["PRIM Ready", "SECOND Ready"], `${what}: states`);
  if (states[1] !== "SECOND Ready")
    for (const node of [n1, n2]) t.comment((await node.holdfast(["log", "db", "--lines", "40"])).stdout);
  t.same(await mirror.whoAnswers(), ["n1"], `${what}: ${VIRTUAL_IP}`);
}

/** Runs an attack from the machine that is no member. */
async function stranger(life: Life, what: string, ...args: string[]): Promise<Record<string, unknown>> {
  const script = `${import.meta.dir}/bad_input_stranger.ts`;
  const { stdout } = await life.mirror.host.exec([process.execPath, script, what, ...args]);
  return JSON.parse(stdout) as Record<string, unknown>;
}

/** What a node dropped of the heartbeats' datagrams, by reason. */
async function dropped(node: Node): Promise<Record<string, number>> {
  const { nodes } = await node.json<ClusterState>(["cluster", "state"]);
  return nodes[node.name]!.heartbeats.counters;
}

/** Each wrong line in the place of a good one, and what is said about it. */
const WRONG_FIELDS: [good: string, wrong: string, said: RegExp][] = [
  ["kind: mirror", "kind: miror", /module\.yaml:1:\d+: .*kind/],
  ["durability: fsync", "durability: always", /module\.yaml:6:\d+: replicate\.durability: /],
  ["timeout: 5s", "timeout: 5", /module\.yaml:5:\d+: replicate\.timeout: /],
  ["timeout: 5s", `timeout: ${"9".repeat(5000)}s`, /module\.yaml:5:\d+: replicate\.timeout: /],
  ["- path: DATA", "- path: relative/data", /module\.yaml:8:\d+: replicate\.paths.*path: /],
  ["- path: DATA", "- path: /", /module\.yaml:8:\d+: replicate\.paths.*path: /],
  ["address: 10.77.0.100/24", "address: 10.77.0.300/24", /module\.yaml:3:\d+: virtualIps.*address: /],
  ["failover: automatic", "failback: n7", /module\.yaml:9:\d+: failback: .*n7/],
  ["failover: automatic", "failover: automatic\nfailover: manual", /module\.yaml:10:\d+/],
  ["failover: automatic", "failovr: automatic", /module\.yaml:9:\d+: failovr: /],
  ["kind: mirror", "\0\0", /module\.yaml:1:/],
  ["kind: mirror", "[".repeat(20_000), /module\.yaml:1:/],
];

const goodYaml = (data: string): string => `kind: mirror
virtualIps:
  - address: 10.77.0.100/24
replicate:
  timeout: 5s
  durability: fsync
  paths:
    - path: ${data}
failover: automatic
`;

t.test("bad input at a running mirror", onRealNodes, async (t) => {
  const life = await startLife(t, { heartbeat: HEARTBEAT });
  const { n1, n2, mirror } = life;
  const scratch = mkdtempSync(join(tmpdir(), `holdfast-bad-input-${process.pid}-`));
  t.teardown(() => rmSync(scratch, { recursive: true }));
  await life.writesGoOn("before");

  await t.test("module apply: every wrong file is refused with its place", async (t) => {
    const directory = join(scratch, "db");
    mkdirSync(join(directory, "hooks"), { recursive: true });
    const apply = async (what: string, said: RegExp): Promise<void> => {
      const { status, stderr } = await n1.holdfast(["module", "apply", "db", "--from", directory], {
        mayFail: true,
      });
      t.equal(status, 2, `${what}: exit status`);
      t.match(stderr, said, `${what}: message`);
      t.ok(stderr.length < 2000, `${what}: a message that people can read`);
    };
    await undisturbed(t, life, "wrong modules", async () => {
      const good = goodYaml(mirror.data);
      for (const [from, to, said] of WRONG_FIELDS) {
        const text = good.replace(from.replace("DATA", mirror.data), to);
        t.not(text, good);
        writeFileSync(join(directory, "module.yaml"), text);
        await apply(to.slice(0, 40), said);
      }
      writeFileSync(join(directory, "module.yaml"), good);
      writeFileSync(join(directory, "hooks/start_prm.ts"), "export default () => {};\n");
      await apply("a hook that would never run", /hooks\/start_prm\.ts:1:1: .*start_prim/);
    });
  });

  await t.test("tokens: truncated, changed, expired, used, of nowhere", async (t) => {
    const join_ = async (what: string, token: string, said: RegExp, name = "n2"): Promise<void> => {
      const argv = [mirror.bed.binary, "cluster", "join", token, "--as", name, "--var", `${scratch}/joined`];
      const { status, stderr } = await mirror.host.exec(argv, { mayFail: true, timeoutMs: 30_000 });
      t.equal(status, 2, `${what}: exit status`);
      t.match(stderr, said, `${what}: message`);
    };
    await undisturbed(t, life, "hostile tokens", async () => {
      const { token } = await n1.json<{ token: string }>(["cluster", "token"]);
      const api = localApi(n1.on.path(n1.varDir));
      const { data } = (await api.call("POST", "/cluster/token", { lifeMs: 1000 })).body as Answer;
      const expired = data.token;
      const used = (await n1.json<{ token: string }>(["cluster", "token"])).token;
      const once = `${scratch}/once`;
      await mirror.host.exec([mirror.bed.binary, "cluster", "join", used, "--as", "n2", "--var", once]);
      await join_("used", used, /used already/);
      await Bun.sleep(1100);
      await join_("expired", expired, /expired/);
      await join_("truncated", token.slice(0, -9), /damaged/);
      await join_(
        "changed",
        token.replace(/.$/, (last) => (last === "A" ? "B" : "A")),
        /damaged/,
      );
      await join_("too long", `hf1.${"A".repeat(50_000)}`, /too long|damaged/);
      await join_("no token", "letmein", /token/);
      await join_("a node that is not in the cluster", token, /no node n7/, "n7");
      await join_("a name that is none", token, /join request|name/, "x".repeat(70));
    });
  });

  await t.test("names and bodies: too long, of another kind, too many", async (t) => {
    await undisturbed(t, life, "oversized input", async () => {
      for (const [argv, said] of [
        [["stop", "x".repeat(5000)], /name/],
        [["stop", "../db"], /name/],
        [["swap", "db", "--node", "n9"], /no node n9/],
        [["wait", "db", "PRIME"], /PRIME/],
        [["wait", "db", "PRIM", "--timeout", "-1s"], /timeout/],
        [["explode", "db"], /explode/],
      ] as [string[], RegExp][]) {
        const { status, stderr } = await n1.holdfast(argv, { mayFail: true });
        t.equal(status, 2, `${argv.join(" ").slice(0, 40)}: exit status`);
        t.match(stderr, said);
        t.ok(stderr.length < 1000, `${argv[0]}: a message that people can read`);
      }
      const api = localApi(n1.on.path(n1.varDir));
      const offer = { commit: "0".repeat(40), pack: "A".repeat(20 << 20), number: 1, dryRun: false };
      for (const [method, path, body] of [
        ["POST", "/modules/db/prepare", offer],
        ["POST", "/modules/db/apply", { commit: "x".repeat(20 << 20) }],
        ["POST", "/modules/db/command", { command: "stop", extra: "x".repeat(1 << 20) }],
        ["POST", `/modules/${"x".repeat(7000)}/command`, { command: "stop" }],
        ["GET", "/log?lines=99999999999", undefined],
      ] as [string, string, unknown][])
        t.match(
          (await api.call(method, path, body)).body,
          { status: 2, message: /\S/ },
          `${method} ${path.slice(0, 30)}`,
        );
    });
  });

  await t.test("heartbeats: noise, and what was recorded, from another machine", async (t) => {
    const recorded = `${mirror.bed.dir}/recorded.pcap`;
    await n1.exec([
      "timeout",
      "10",
      "tcpdump",
      "-q",
      "-c",
      "40",
      "-w",
      recorded,
      "-i",
      "lan",
      `udp port ${HEARTBEATS} and dst host ${n1.addresses["lan"]}`,
    ]);
    const file = join(scratch, "recorded.json");
    const real = payloads(await Bun.file(recorded).bytes());
    t.equal(real.length, 40, "real datagrams were recorded");
    writeFileSync(file, JSON.stringify(real.map((bytes) => Buffer.from(bytes).toString("base64"))));
    const before = await dropped(n1);
    await undisturbed(t, life, "hostile datagrams", async () => {
      for (const node of [n1, n2])
        await stranger(life, "datagrams", node.addresses["lan"]!, `${HEARTBEATS}`, file);
    });
    const after = await dropped(n1);
    for (const reason of ["malformed", "foreign", "forged", "replayed"])
      t.ok(after[reason]! > before[reason]!, `${reason}: ${after[reason]}`);
  });

  await t.test("the cluster's port: callers without a certificate", async (t) => {
    await undisturbed(t, life, "strangers over TLS", async () => {
      for (const node of [n1, n2]) {
        const answers = await stranger(life, "requests", node.addresses["lan"]!, `${PORT}`);
        for (const path of ["status", "stop", "load", "shutdown"]) t.match(answers[path], /401/, path);
        t.match(answers["join"], /400/);
        t.match(answers["bigJoin"], /413/);
        t.match(answers["longPath"], /^(HTTP\/1\.1 4\d\d.*|)$/);
        t.match(answers["noise"], /^(HTTP\/1\.1 4\d\d.*|)$/);
      }
      await stranger(life, "connections", n1.addresses["lan"]!, `${PORT}`);
    });
  });

  await t.test("the replication's port: silent, slow and shouting connections", async (t) => {
    await undisturbed(t, life, "strangers at the replication's port", async () => {
      const { opened, heard } = await stranger(life, "connections", n1.addresses["lan"]!, `${REPLICATION}`);
      t.ok(Number(opened) >= 60, `${opened} connections were tried`);
      t.equal(heard, 0, "a stranger hears nothing");
      const { stdout } = await n1.holdfast(["log", "db", "--lines", "5000"]);
      const told = stdout.match(/was refused: the peer does not hold/g)?.length ?? 0;
      t.ok(told >= 1 && told <= 3, `the log tells of it, and is not filled: ${told} lines`);
    });
  });

  await t.test("a crowd at the replication's port does not keep SECOND out", async (t) => {
    let isCrowded = true;
    const crowd = stranger(life, "connections", n1.addresses["lan"]!, `${REPLICATION}`, "25").finally(() => {
      isCrowded = false;
    });
    await Bun.sleep(500);
    life.ran(n1);
    n2.signal(life.pidOf(n2, "__replication"), "SIGKILL");
    const ran: string[] = [];
    const isBack = (): boolean => {
      ran.push(...life.ran(n1));
      return ran.includes(SCRIPTS.joined[0]);
    };
    await until("SECOND left and is back", isBack, 24_000);
    await life.comesTo("SECOND is back", "PRIM Ready", "SECOND Ready", n1, 24_000);
    t.ok(isCrowded, "while the crowd is still there");
    await crowd;
  });

  life.nothingLost("at the end", n1);
  await life.verified("at the end", n1);
});

/** UDP payloads of a recording of Ethernet frames. See pcap-savefile(5). */
function payloads(file: Uint8Array): Uint8Array[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const found: Uint8Array[] = [];
  for (let at = 24; at < file.length; ) {
    const length = view.getUint32(at + 8, true);
    const ip = at + 16 + 14;
    const udp = ip + (file[ip]! & 15) * 4;
    found.push(file.slice(udp + 8, udp + view.getUint16(udp + 4)));
    at += 16 + length;
  }
  return found;
}
