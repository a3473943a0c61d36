/** What a module's author is told before it is used, and what an editor needs to know. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import t from "tap";
import { checkModule, formatProblem, typeProblems, writeEditorFiles } from "../../modules/mod.ts";
import { TEMPLATES } from "../../templates/catalog.ts";

const root = mkdtempSync(join(tmpdir(), `holdfast-check-${process.pid}-`));
t.teardown(() => rmSync(root, { recursive: true }));

const yaml = "kind: mirror\nreplicate: { paths: [{ path: /srv/a }] }\n";
const hook = `export default async () => { console.log("hook"); };\n`;

function source(name: string, files: Record<string, string>): string {
  const directory = join(root, name);
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), content);
  }
  return directory;
}

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
  const asking = { "module.yaml": `${yaml}secrets: [known]\n`, "hooks/transition.ts": SECRET_HOOK };
  t.match(checkModule(source("a secret that is not listed", asking)).warnings, [
    "hooks/transition.ts:2:40: module.yaml does not list unknown under secrets",
    /start_prim/,
  ]);
  const farm = `kind: farm
virtualIps: [{ address: 10.0.0.9/24 }]
loadBalancing: { mode: invisible, rules: [{ protocol: tcp, ports: [80] }] }
`;
  t.match(checkModule(source("later-farm", { "module.yaml": farm })).errors, [
    /^module\.yaml:2:13: virtualIps: a farm's virtual IP by mode: invisible is not supported by this version: .*directed/,
    /^module\.yaml:3:24: loadBalancing\.mode: mode: invisible is not supported by this version: .*directed/,
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
    t.match(rule("tcp.dv == down"), [/rules\.mine\.if: nothing checks tcp\.dv: did you mean tcp\.db\?$/]);
    t.match(rule("http.* == down"), [/rules\.mine\.if: nothing checks http\.\*/]);
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
});
