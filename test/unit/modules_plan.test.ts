/** What a new revision changes, and what of it needs the module stopped. */

import { parse } from "@std/yaml";
import t from "tap";
import * as v from "valibot";
import { type Change, type Contents, needsStop, planChange } from "../../modules/history/history.ts";
import { moduleSchema } from "../../modules/mod.ts";

const base = `kind: mirror
virtualIps: [{ address: 10.0.0.5/24 }]
replicate: { paths: [{ path: /srv/a, exclude: ["*.tmp"] }] }
timeouts: { start: 5m }
`;

function contents(yaml: string, files: Record<string, string> = {}): Contents {
  const config = v.parse(moduleSchema, parse(yaml));
  return { config, yaml, files: new Map(Object.entries({ "module.yaml": yaml, ...files })) };
}

function plan(yaml: string, before = base): Change[] {
  return planChange(contents(before), contents(yaml));
}

t.test("what may change while the module runs, and what may not", async (t) => {
  const live = [
    "heartbeat: { interval: 100ms, timeout: 2s, lans: [lan] }",
    "boot: never",
    "probe: { port: 9503 }",
    "maxLoop: { count: 5 }",
    'vars: { port: "80" }',
    "processes: { p: { regex: ^p } }",
    "checkers: { tcp: { db: { address: '127.0.0.1:1' } } }",
    "rules: { r: { if: x == down, then: swap } }",
    "failover: manual",
    "failback: n1",
    "secrets: [s]",
    "permissions: { net: [] }",
  ];
  for (const line of live) {
    const changes = plan(`${base}${line}\n`);
    t.ok(changes.length > 0, line);
    t.same(needsStop(changes), [], line);
  }
  const stop: [string, string][] = [
    ["onIsolation", "onIsolation: wait"],
    ["nodes", "nodes: [n1, n2]"],
    ["services", "services: [a]"],
  ];
  for (const [key, line] of stop) {
    const [change] = needsStop(plan(`${base}${line}\n`));
    t.ok(change?.what.startsWith(key), line);
    t.match(change?.words, /only while the module is stopped/);
  }
  for (const [from, to] of [
    ["10.0.0.5/24", "10.0.0.6/24"],
    ["/srv/a", "/srv/b"],
    ['["*.tmp"]', '["*.tmp", "*.bak"]'],
    ["replicate: {", "replicate: { timeout: 9s,"],
  ] as const)
    t.equal(needsStop(plan(base.replace(from, to))).length, 1, `${from} to ${to}`);
  const farm = `kind: farm
virtualIps: [{ address: 10.0.0.9/24 }]
loadBalancing: { rules: [{ protocol: tcp, ports: [80] }], weights: { n1: 1 } }
`;
  t.equal(needsStop(plan(farm.replace("80", "81"), farm)).length, 1, "load balancing");
  t.match(plan(farm.replace("n1: 1", "n1: 2"), farm), [
    { how: "live", words: /weights\.n1: 1 -> 2: counts at once for new clients/ },
  ]);
  t.ok(needsStop(plan("kind: light\n")).some(({ what }) => what === "kind"));
});

t.test("every setting of a module is one or the other, by name", async (t) => {
  for (const schema of moduleSchema.options)
    for (const key of Object.keys(schema.entries)) t.match(key, KNOWN, key);
});
const KNOWN =
  /^(heartbeat|boot|probe|maxLoop|timeouts|vars|secrets|permissions|processes|checkers|rules|failover|failback|kind|nodes|services|virtualIps|replicate|loadBalancing|onIsolation)$/;

t.test("values are told as people wrote them; a default that is written out changes nothing", async (t) => {
  t.same(
    plan(base.replace("start: 5m", "start: 10m, stop: 5m")).map(({ words }) => words),
    [
      'timeouts.start: "5m" -> "10m": counts from the next script on',
      'timeouts.stop: not set -> "5m": means the same',
    ],
  );
  t.same(needsStop(plan(`${base}onIsolation: continue\n`)), [], "the default, written out");
  t.same(plan(`# a comment\n${base}`), []);
  t.same(planChange(null, contents(base)), [], "the first revision changes nothing");
  const long = plan(`${base}vars: { a: "${"x".repeat(500)}" }\n`)[0]!.words;
  t.ok(long.length < 200, "a long value is cut");
});

t.test("files: hooks and what they use change live, and that is said", async (t) => {
  const before = contents(base, { "hooks/start_prim.ts": "1", "lib/a.ts": "1", "README.md": "1", gone: "1" });
  const after = contents(base, {
    "hooks/start_prim.ts": "2",
    "lib/a.ts": "2",
    "README.md": "2",
    "hooks/new": "1",
  });
  t.same(
    planChange(before, after).map(({ how, words }) => `${how}: ${words}`),
    [
      "live: README.md: changed: no effect on what runs",
      "live: gone: gone: seen by the scripts that use it, from their next run on",
      "live: hooks/new: new: counts from its next run on; what runs is not started again",
      "live: hooks/start_prim.ts: changed: counts from its next run on; what runs is not started again",
      "live: lib/a.ts: changed: seen by the scripts that use it, from their next run on",
    ],
  );
});
