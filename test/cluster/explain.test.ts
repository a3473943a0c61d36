/** `holdfast explain` on real nodes: a takeover told by the survivor alone, by both, after a restart of a daemon; and a cut network. */
import { statSync } from "node:fs";
import t from "tap";
import type { Explanation } from "../../core/explain/explain.ts";
import { createLife, onRealNodes } from "./life.ts";
import type { Node } from "./testbed.ts";

t.setTimeout(400_000);

async function told(node: Node, ...more: string[]): Promise<Explanation> {
  return (await node.json<{ data: Explanation }>(["explain", "db", ...more])).data;
}

async function text(node: Node, ...more: string[]): Promise<string> {
  return (await node.holdfast(["explain", "db", ...more])).stdout;
}

/** The words of a text, however it was broken into lines. */
const flat = (lines: string): string => lines.replace(/\s+/g, " ");
const at = (incident: NonNullable<Explanation["incident"]>): string => `${incident.from}/${incident.to}`;

t.test("what happened, from the journals of both nodes", onRealNodes, async (t) => {
  const life = await createLife(t);
  const { n1, n2, mirror } = life;
  await mirror.start();
  await n1.powerCut();
  await n2.holdfast(["wait", "db", "ALONE"]);

  const alone = await told(n2);
  const takeover = alone.incident!;
  t.match(takeover.title, /^n2: n1 is silent: n2 takes over$/);
  t.match(alone.sources, { n1: { answered: false }, n2: { answered: true, clock: null } });
  const decided = takeover.moments.find(({ cause }) => cause === "lost")!;
  t.match(decided, { node: "n2", saw: /no sign of life from n1 for .* on any of: lan, repl/ });
  const steps = decided.ran.map(({ what }) => what);
  t.match(steps.join(), /^record on disk \(ALONE, uptodate\),.*stop_second,.*virtual address up,start_prim/);
  t.ok(
    decided.ran.every(({ tookMs, trouble }) => tookMs >= 0 && trouble === ""),
    "how long each took",
  );
  t.match(decided.became.at(-1), { state: "ALONE", readiness: "Ready" });
  t.match(takeover.prevention, [/^n1 crashed, lost its power or its network.*Nothing on n2 could have/]);
  const page = await text(n2);
  t.match(page, /n1 does not answer: its side of the story is missing/);
  t.match(page, /^ {2}n1 {2}PRIM ═+silent +$/m, "the picture: n1 was PRIM, then silent");
  t.match(page, /^ {2}n2 {2}SECOND ═.*ALONE ═/m);
  t.match(flat(page), /runs record on disk .* start_prim \(\d+ ms\)/);
  t.notMatch(page, "\x1b", "no colours in a file");

  await life.boot(n1);
  await mirror.settled("SECOND", "PRIM");
  const back = await told(n1);
  t.match(back.sources, { n1: { answered: true, clock: null }, n2: { answered: true, clock: {} } });
  t.ok(
    back.incident!.moments.some(({ node }) => node === "n1") &&
      back.incident!.moments.some(({ node }) => node === "n2"),
  );
  t.match(back.before.at(-1), { title: /n2 takes over/ });
  const asked = await told(n1, "--at", at(takeover));
  t.match(asked.incident!.title, /n1 is silent: n2 takes over/, "n1 tells what n2 did, by its own clock");
  t.match(asked.incident!.prevention, [/the daemon of n1 began anew afterwards/]);

  process.kill(life.pidOf(n2, "daemon"), "SIGKILL");
  await n2.startDaemon();
  await mirror.settled("SECOND", "PRIM");
  t.equal(
    (await told(n2, "--at", at(takeover))).incident!.title,
    takeover.title,
    "the journal outlives its daemon",
  );

  await mirror.bed.isolate(n2);
  await life.comesToApart("isolated", "ALONE Ready", "ALONE Ready");
  const cut = await told(n1);
  t.match(cut.sources, { n2: { answered: false } });
  await mirror.bed.heal();
  await mirror.settled("SECOND", "PRIM");
  const both = await told(n2, "--at", at(cut.incident!));
  const losses = both.incident!.moments.filter(({ cause }) => cause === "lost").map(({ node }) => node);
  t.same(new Set(losses), new Set(["n1", "n2"]), "both sides, each with its own silence");
  t.match(both.incident!.prevention, [/did not hear each other.*do they share a switch.*onIsolation: wait/]);

  const whole = await told(n1, "--at", at(cut.incident!));
  const file = `${mirror.bed.dir}/shop.snapshot`;
  const made = await n1.holdfast(["snapshot", file]);
  t.match(made.stdout, /shop\.snapshot: db, \d+ KiB\. holdfast explain --snapshot/);
  t.equal(statSync(file).mode & 0o777, 0o600);
  const elsewhere = await mirror.host.exec(
    [mirror.bed.binary, "explain", "--snapshot", file, "--at", at(cut.incident!), "--json"],
    { env: { HOLDFAST_VAR: "/nowhere" } },
  );
  const read = (JSON.parse(elsewhere.stdout) as { data: Explanation }).data;
  t.same(read.incident, whole.incident, "a machine that knows nothing of the cluster tells the same story");
  t.match(await n1.holdfast(["snapshot", file], { mayFail: true }), {
    status: 1,
    stderr: /is there already/,
  });

  const wrong = await n1.holdfast(["explain", "db", "--at", "soon"], { mayFail: true });
  t.match(wrong, { status: 2, stderr: /"soon" is no time: 14:05/ });
});
