/** What a module's author is told before it is used, and what an editor needs to know. */
import { join } from "node:path";
import t from "tap";
import {
  checkModule,
  examineModule,
  formatProblem,
  typeProblems,
  writeEditorFiles,
} from "../../modules/mod.ts";
import { TEMPLATES } from "../../templates/catalog.ts";
import { scratch, writeFiles } from "../fixtures/scratch.ts";

const root = scratch("check");

const yaml = "kind: mirror\nreplicate: { paths: [{ path: /srv/a }] }\n";
const hook = `export default async () => { console.log("hook"); };\n`;

const source = (name: string, files: Record<string, string>) => writeFiles(join(root, name), files);

const SECRET_HOOK = `import { secret, secretFile } from "holdfast";
export default () => [secret("known"), secretFile("unknown")];
`;

t.test("check warns of what will hurt, and refuses what does not work yet", async (t) => {
  const from = source("a directory with any name", {
    "module.yaml": yaml,
    "hooks/start_prim.ts": "export default async () => {\n  await Bun.sleep(1);\n  process.exit(0);\n};\n",
    "hooks/stop_second.ts": "export default async () => {}",
  });
  const { errors, warnings } = checkModule(from);
  t.same(errors, []);
  t.same(warnings, [
    "hooks/start_prim.ts:1:1: there is no stop_prim hook: what start_prim starts is killed at each stop and swap",
    "hooks/start_prim.ts:2:9: uses Bun directly: the runtime may change under it; use holdfast, node: or Deno",
    "hooks/start_prim.ts:3:3: ends with success at once: what follows is not run, and a failure is not seen",
    "hooks/stop_second.ts:1:1: there is no start_second hook: nothing starts what stop_second stops",
    "hooks/stop_second.ts:1:1: does nothing",
  ]);
  const idle = {
    "module.yaml": yaml,
    "hooks/start_prim.ts": "// soon\n",
    "hooks/stop_prim.ts": 'import "holdfast";\nexport default { run() {} };\n',
  };
  t.match(checkModule(source("no function", idle)), {
    errors: [/^hooks\/stop_prim\.ts:2:1: its default export is no function/],
  });
  idle["hooks/stop_prim.ts"] = "stop();\nfunction stop() {}\n";
  t.same(checkModule(source("nothing in it", idle)), {
    ...{ errors: [], errorPlaces: [] },
    warnings: ["hooks/start_prim.ts:1:1: does nothing, and succeeds"],
    warningPlaces: [
      { file: "hooks/start_prim.ts", line: 1, column: 1, path: "", message: "does nothing, and succeeds" },
    ],
  });
  const asking = { "module.yaml": `${yaml}secrets: [known]\n`, "hooks/transition.ts": SECRET_HOOK };
  t.match(checkModule(source("a secret that is not listed", asking)).warnings, [
    "hooks/transition.ts:2:40: module.yaml does not list unknown under secrets",
    /start_prim/,
  ]);
});

t.test(
  "checkers and rules: what would never act is refused, with its place; what is slow is told",
  async (t) => {
    const say = (lines: string) =>
      checkModule(source(`watched-${crypto.randomUUID()}`, { "module.yaml": yaml + lines }));
    const errors = (lines: string) => say(lines).errors;
    const tcp = (more: string) => `checkers: { tcp: { db: { address: "127.0.0.1:5432", ${more} } } }\n`;
    t.same(errors(tcp("when: pre")), []);
    t.match(errors(tcp("when: pre, action: restart")), [
      /^module\.yaml:3:\d+: checkers\.tcp\.db\.action: a checker with when: pre .* can only wait or none, not restart$/,
    ]);
    t.match(errors(tcp("action: wait")), [
      /checkers\.tcp\.db\.action: only a checker with when: pre can wait/,
    ]);
    const rule = (condition: string) =>
      errors(`${tcp("")}rules: { mine: { if: "${condition}", then: swap } }\n`);
    t.same(rule("tcp.db == down && remote.heartbeat.lan != up || tcp.? == unknown"), []);
    t.match(rule("tcp.db == down & x"), [
      /^module\.yaml:4:\d+: rules\.mine\.if: at character 16: "&" means nothing here$/,
    ]);
    t.match(rule("tcp.dv == down"), [/rules\.mine\.if: nothing sets tcp\.dv: did you mean tcp\.db\?$/]);
    t.match(rule("http.* == down"), [/rules\.mine\.if: nothing sets http\.\*/]);
    t.match(rule("tpc.db == down"), [/rules\.mine\.if: nothing sets tpc\.db: did you mean tcp\.db\?$/]);
    t.match(rule("replication.insink == down"), [/did you mean replication\.insync\?$/]);
    for (const name of ["replication.* ", "splitbrain.witness", "heartbeat.lan", "custom.any"])
      t.same(rule(`${name} == down`), [], `${name} may be set`);
    t.match(rule("replication.uptodate == unknown"), [
      /^module\.yaml:4:\d+: rules\.mine\.if: replication\.uptodate is init, up or down here, never unknown$/,
    ]);
    t.match(rule("replication.* != unknown || heartbeat.lan == unknown"), [
      /replication\.\* is init, up or down here, never unknown$/,
      /heartbeat\.lan is init, up or down here, never unknown$/,
    ]);
    t.match(rule("splitbrain.witness == init"), [
      /splitbrain\.witness is up, down or unknown here, never init$/,
    ]);
    t.same(rule("remote.replication.insync == unknown"), [], "of a node that is silent everything is");
    t.match(rule("heartbeat.lan.n2 == down"), [/nothing sets heartbeat\.lan\.n2: .* heartbeat\.<lan>/]);
    t.match(rule("probe.port == down"), [/nothing sets probe\.port/]);
    const named = (name: string, more = "") =>
      errors(`${tcp(more)}rules: { ${name}: { if: "heartbeat.lan == down", then: swap } }\n`);
    t.match(named("t_db"), [
      /^module\.yaml:4:\d+: rules\.t_db: the checker tcp\.db has a rule of that name: choose another/,
    ]);
    t.same(named("t_db", "action: none"), [], "it has none");
    const processes = (settings: string) => errors(`processes: { a: { ${settings} } }\n`);
    t.same(processes("regex: x, argumentsRegex: y"), []);
    t.match(processes("min: 1"), [/processes\.a: say which processes: by regex/]);
    t.match(processes("regex: x, pidFile: /run/x.pid"), [/processes\.a: say which processes/]);
    t.match(processes("regex: x, when: pre"), [/processes\.a\.when: processes run once/]);
    t.match(
      say(tcp("interval: 1s, timeout: 3s")).warnings.filter((line) => line.includes("checkers")),
      [/checkers\.tcp\.db\.timeout: a look may take 3s, and is due every 1s/],
    );
    t.same(
      say(tcp("interval: 1s")).warnings.filter((line) => line.includes("checkers")),
      [],
      "without a time limit of its own it has its interval",
    );
  },
);

t.test("a rule asks about what a module of its kind has", async (t) => {
  const kinds = {
    mirror: "kind: mirror\nheartbeat: { lans: [repl] }\n",
    farm: "kind: farm\nprobe: { port: 9000 }\n",
    light: "kind: light\nnodes: [n1]\n",
  };
  const cluster = { nodes: ["n1", "n2"], lans: ["lan", "repl"] };
  const refused = (kind: keyof typeof kinds, condition: string): readonly string[] =>
    checkModule(
      source(`kind-${crypto.randomUUID()}`, {
        "module.yaml": `${kinds[kind]}rules: { mine: { if: "${condition} == down", then: stop } }\n`,
      }),
      cluster,
    ).errors;
  for (const [kind, condition] of [
    ["mirror", "splitbrain.witness"],
    ["mirror", "heartbeat.repl"],
    ["mirror", "remote.heartbeat.*"],
    ["farm", "heartbeat.lan.n2"],
    ["farm", "probe.port"],
    ["light", "custom.any"],
  ] as const)
    t.same(refused(kind, condition), [], `${kind}: ${condition}`);
  for (const [kind, condition, why] of [
    ["mirror", "replication.insync", /nothing sets replication\.insync/],
    ["mirror", "heartbeat.lan", /nothing sets heartbeat\.lan: did you mean heartbeat\.repl\?/],
    ["farm", "replication.uptodate", /nothing sets replication\.uptodate/],
    ["farm", "splitbrain.witness", /nothing sets splitbrain\.witness/],
    ["farm", "heartbeat.lan", /nothing sets heartbeat\.lan: did you mean heartbeat\.lan\.n[12]\?/],
    ["farm", "remote.probe.port", /remote\. asks a mirror's other node, and a farm has none/],
    ["light", "heartbeat.?", /nothing sets heartbeat\.\?/],
    ["light", "remote.custom.any", /remote\. asks a mirror's other node, and a light has none/],
  ] as const) {
    const [found, ...more] = refused(kind, condition);
    t.match(found, why, `${kind}: ${condition}`);
    t.match(found, /^module\.yaml:\d+:\d+: rules\.mine\.if: /);
    t.same(more, []);
  }
});

t.test("every template, as it is cloned, passes check without a warning", async (t) => {
  for (const template of TEMPLATES) {
    const directory = source(`template-${template.name}`, { ...template.files });
    await writeEditorFiles(directory);
    const { errors, warnings } = checkModule(directory);
    const types = (await typeProblems(directory)).map(formatProblem);
    t.same([...errors, ...warnings, ...types], [], template.name);
  }
});

t.test("wrong types are told with their place, in hooks, checkers, tests and what they import", async (t) => {
  const directory = source("types", {
    "module.yaml": yaml,
    "deno.json": `{ "imports": { "@lib/": "./lib/", "port": "./lib/port.ts" } }`,
    "hooks/start_prim.ts": `import { defineHook, waitFor } from "holdfast";
import { port } from "port";
import { name } from "@lib/name.ts";
import { parse } from "@std/yaml";
import words from "./words.txt" with { type: "text" };
export default defineHook(async ({ vars, prot }) => {
  await waitFor.tcp(port, { timeout: 5 });
  console.log(name.toFixed(), parse(words), vars.anything, Bun.version);
});
`,
    "hooks/words.txt": "a: 1",
    "hooks/stop_prim.ts":
      "await Deno.openKv();\nimport { Database } from 'bun:sqlite';\nconsole.log(Database);\n",
    "lib/port.ts": "export const port: number = '80';\n",
    "lib/name.ts": "export const name = 'shop';\n",
    "lib/vendored.ts": "// @ts-nocheck\nexport const old: number = '';\n",
    "node_modules/other/index.ts": "export const wrong: number = '';\n",
    "own.test.ts": "import { FakeNode } from 'holdfast/testing';\nnew FakeNode({ var: {} });\n",
  });
  const problems = (await typeProblems(directory)).map(formatProblem);
  const expected = [
    /^hooks\/start_prim\.ts:6:42: Property 'prot' does not exist on type 'HookContext'/,
    /^hooks\/start_prim\.ts:7:29: Type 'number' is not assignable to type 'string'/,
    /^hooks\/start_prim\.ts:8:20: Property 'toFixed' does not exist/,
    /^hooks\/stop_prim\.ts:1:12: Property 'openKv' does not exist/,
    /^lib\/port\.ts:1:14: Type 'string' is not assignable to type 'number'/,
    /^own\.test\.ts:2:16: .*'var' does not exist in type 'FakeNodeOptions'/,
  ];
  t.equal(problems.length, expected.length, problems.join("\n"));
  for (const [index, pattern] of expected.entries()) t.match(problems[index], pattern);
});

t.test(
  "a mirror that leaves lans out of its heartbeats is told what that costs with a witness",
  async (t) => {
    const cluster = { nodes: ["n1", "n2"], lans: ["lan", "repl"] };
    const warned = (text: string) =>
      checkModule(source(crypto.randomUUID(), { "module.yaml": text }), cluster).warnings.filter((line) =>
        line.includes("heartbeat.lans"),
      );
    t.same(warned(`${yaml}heartbeat: { lans: [lan] }\n`), [
      "module.yaml:1:1: heartbeat.lans: without repl, a recording witness that is away stops the primary",
    ]);
    t.same(warned(`${yaml}heartbeat: { lans: [repl, lan] }\n`), []);
    t.same(warned(yaml), []);
    t.same(warned("kind: farm\nheartbeat: { lans: [lan] }\n"), [], "a farm asks no witness");
  },
);

t.test("while module.yaml is wrong, that is told at once, without a look at types", async (t) => {
  const code = { "hooks/start_prim.ts": "export const port: number = '80';\nexport default () => {};\n" };
  const wrong = source("wrong", { "module.yaml": "kind: miror\n", ...code });
  const { errors } = await examineModule(wrong, null, true);
  t.equal(errors.length, 1, errors.join("\n"));
  t.match(errors, [/^module\.yaml:1:7: kind: expected mirror/]);
  const right = source("right", { "module.yaml": yaml, ...code });
  t.match((await examineModule(right, null, true)).errors, [/^hooks\/start_prim\.ts:1:14: Type 'string'/]);
});

t.test("farms and light modules: what fits them, and what cannot work", async (t) => {
  const cluster = { nodes: ["n1", "n2"], lans: ["lan"] };
  const check = (text: string, files: Record<string, string> = {}) =>
    checkModule(
      source(`kinds-${crypto.randomUUID()}`, {
        "module.yaml": text,
        "hooks/start_both.ts": hook,
        "hooks/stop_both.ts": hook,
        ...files,
      }),
      cluster,
    );
  for (const fine of [
    "kind: farm\n",
    "kind: farm\nloadBalancing: { mode: external }\n",
    "kind: light\n",
    "kind: light\nnodes: [n1]\nvirtualIps: [{ address: 10.0.0.9/24 }]\n",
  ])
    t.match(check(fine), { errors: [], warnings: [] }, fine);
  const refused: [string, RegExp][] = [
    ["kind: farm\nnodes: [n1]\n", /:2:8: nodes: a farm has 2 to 32 nodes/],
    [
      "kind: farm\nloadBalancing: { mode: external, weights: { n1: 2 } }\n",
      /loadBalancing\.weights: with mode: external/,
    ],
    [
      "kind: farm\nloadBalancing: { mode: external, rules: [{ protocol: tcp, ports: [80] }] }\n",
      /loadBalancing\.rules: with mode: external the load balancer outside decides/,
    ],
    [
      "kind: light\nvirtualIps: [{ address: 10.0.0.9/24 }]\n",
      /virtualIps: each node of a light module runs its own/,
    ],
    ["kind: light\nfailover: manual\n", /unknown key "failover"/],
  ];
  for (const [text, message] of refused) t.match(check(text).errors, [message], text);
  t.match(check("kind: farm\n", { "hooks/start_prim.ts": hook, "hooks/stop_prim.ts": hook }).warnings, [
    /^hooks\/start_prim\.ts:1:1: nothing calls start_prim in a farm/,
    /^hooks\/stop_prim\.ts:1:1: nothing calls stop_prim in a farm/,
  ]);
  const fence = { "hooks/fence.ts": hook };
  t.match(check("kind: farm\n", fence).warnings, [/^hooks\/fence\.ts:1:1: nothing calls fence in a farm/]);
  t.same(
    check("kind: mirror\nreplicate: { paths: [{ path: /srv/db }] }\ntimeouts: { fence: 30s }\n", fence)
      .warnings,
    [],
  );
});
