/**
 * module.yaml and the files around it: every field wrong in turn is refused with its exact path and line, and a hook that
 * would never run, or do nothing, is refused before it can be missed.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { stringify } from "@std/yaml";
import t from "tap";
import type { ClusterNames } from "../../modules/cross_checks.ts";
import { formatProblem, loadModule, ModuleInvalid, moduleJsonSchema, readModule } from "../../modules/mod.ts";
import { moduleSchema } from "../../modules/schema.ts";
import { readYaml, validateYaml } from "../../modules/yaml_document.ts";

const cluster: ClusterNames = { nodes: ["n1", "n2"], lans: ["lan", "repl"] };

/** A module directory named `db` with these files. */
function directory(t: { teardown(clean: () => void): void }, files: Record<string, string>): string {
  const root = join(mkdtempSync(join(tmpdir(), `holdfast-modules-${process.pid}-`)), "db");
  t.teardown(() => rmSync(dirname(root), { recursive: true }));
  mkdirSync(root);
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  return root;
}

const hook = `import { defineHook } from "holdfast";\nexport default defineHook(async () => {});\n`;
const good = `kind: mirror
nodes: [n1, n2]
heartbeat: { interval: 200ms, timeout: 1s, lans: [lan, repl] }
virtualIps:
  - address: 10.77.0.100/24
  - { address: "fd00::64/64", interface: eth1 }
replicate:
  lans: [repl, lan]
  durability: write
  close: acknowledged
  timeout: 2s
  bandwidth: 100Mbit/s
  paths:
    - path: /srv/app/data
      exclude: ["*.tmp"]
      notEmpty: true
    - path: /srv/app/more
failback: n1
failover: manual
onIsolation: wait
boot: always
maxLoop: { count: 5, interval: 1h }
timeouts: { start: 1m, stop: 2m, force: 3s }
vars: { port: "5432" }
`;

t.test("a whole module is read with its values in base units", async (t) => {
  const root = directory(t, {
    "module.yaml": good,
    "hooks/start_prim.ts": hook,
    "hooks/stop_prim.sh": "#!/bin/sh\n",
    "hooks/start_prim.test.ts": `import { x } from "npm:x"; export const y = x;`,
    "hooks/poststop.ts": "console.log(1);",
  });
  chmodSync(join(root, "hooks/stop_prim.sh"), 0o755);
  const { name, config, hooks } = loadModule(root, cluster);
  t.equal(name, "db");
  t.match(config, {
    heartbeat: { interval: 200, timeout: 1000 },
    replicate: {
      timeout: 2000,
      bandwidth: 12_500_000,
      paths: [
        { only: [], notEmpty: true },
        { exclude: [], notEmpty: false },
      ],
    },
    maxLoop: { count: 5, interval: 3_600_000 },
    timeouts: { start: 60_000, stop: 120_000, force: 3000 },
  });
  t.same(
    [...hooks].map(([hook, { kind, script }]) => [hook, kind, script]),
    [
      ["poststop", "typescript", true],
      ["start_prim", "typescript", false],
      ["stop_prim", "executable", true],
    ],
  );
});

t.test("the defaults are those of the contract", async (t) => {
  const root = directory(t, { "module.yaml": "kind: mirror\nreplicate: { paths: [{ path: /srv/a }] }\n" });
  t.match(loadModule(root).config, {
    replicate: { durability: "fsync", close: "ordered", timeout: 5000, bandwidth: 0 },
    failover: "automatic",
    onIsolation: "continue",
    boot: "auto",
    maxLoop: { count: 3, interval: 86_400_000 },
    timeouts: { start: 300_000, stop: 300_000, force: 60_000 },
  });
});

/** Every leaf and mapping of the JSON Schema as a path, with a value that fits. */
interface Node {
  type?: string;
  properties?: Record<string, Node>;
  items?: Node;
  oneOf?: Node[];
  anyOf?: Node[];
  const?: string;
  enum?: string[];
  additionalProperties?: Node | false;
}
type Path = (string | number)[];

function* fields(node: Node, path: Path = []): Generator<Path> {
  if (path.length > 0) yield path;
  for (const [key, child] of Object.entries(node.properties ?? {}))
    if (key !== "kind") yield* fields(child, [...path, key]);
  if (node.items) yield* fields(node.items, [...path, 0]);
  if (typeof node.additionalProperties === "object")
    yield* fields(node.additionalProperties, [...path, "one"]);
}

/** A document with `value` at `path`, and on the way there what is needed to get that far. */
function documentWith(kind: string, path: Path, value: unknown): unknown {
  const build = (rest: Path): unknown => {
    const [key, ...more] = rest;
    if (key === undefined) return value;
    return typeof key === "number" ? [build(more)] : { [key]: build(more) };
  };
  return { kind, ...(build(path) as object) };
}

t.test("every field of the schema, wrong in turn, is named with its exact path and line", async (t) => {
  const schema = moduleJsonSchema() as Node;
  let count = 0;
  for (const kind of schema.oneOf ?? schema.anyOf ?? []) {
    const name = kind.properties?.["kind"]?.const ?? "";
    for (const path of fields(kind)) {
      for (const wrong of [true, { wrong: 1 }, "", null, -1, "x".repeat(70_000)]) {
        // A few wrong values are right for some fields: true for a flag, a mapping of that key for a mapping of names.
        const text = stringify(documentWith(name, path, wrong), { indent: 2 });
        const yaml = readYaml(text, "module.yaml");
        const { problems } = validateYaml(yaml, moduleSchema);
        const expected = path
          .map((key, i) => (typeof key === "number" ? `[${key}]` : i === 0 ? key : `.${key}`))
          .join("");
        const here = problems.filter(
          (problem) =>
            problem.path === expected ||
            problem.path.startsWith(`${expected}.`) ||
            problem.path.startsWith(`${expected}[`),
        );
        const accepted =
          (typeof wrong === "object" && wrong !== null && expected === "loadBalancing.weights") ||
          (wrong === true && /(notEmpty|verify|write|^permissions\.\w+)$/.test(expected)) ||
          (wrong === "" && /(^|\.)(vars\.one|permissions\.\w+\[0\])$/.test(expected));
        if (accepted) continue;
        const line = text.split("\n").findIndex((row) => row.includes(keyOf(path))) + 1;
        const good =
          here.length > 0 &&
          here.every(
            (problem) => problem.line >= line && problem.message !== "" && problem.message.length < 400,
          );
        if (!good)
          t.fail(`${name} ${expected} = ${String(wrong).slice(0, 20)}`, {
            problems,
            text: text.slice(0, 300),
          });
        count++;
      }
    }
  }
  t.ok(count > 800, `${count} wrong documents`);
});

/** The last named key of a path: its line is where the error must be, or below. */
function keyOf(path: Path): string {
  return `${String(path.findLast((key) => typeof key === "string"))}:`;
}

const wrong: [change: [string, string], expected: string | RegExp][] = [
  [
    ["timeout: 2s", "timeout: 2"],
    "11:12: replicate.timeout: 2 has no unit: write a duration with its unit, such as 200ms, 5s, 5m or 24h",
  ],
  [["timeout: 2s", `timeout: ${"9".repeat(5000)}s`], /11:12: replicate\.timeout: "9{39}…" is not a duration/],
  [
    ["durability: write", "durability: wirte"],
    '9:15: replicate.durability: expected fsync, write, found "wirte": did you mean write?',
  ],
  [
    ["  durability: write", "  durabilty: write"],
    '9:3: replicate.durabilty: unknown key "durabilty": did you mean durability?',
  ],
  [["failback: n1", "failback: n3"], "18:11: failback: n3 is not a node of this module: did you mean n1?"],
  [
    ["lans: [repl, lan]", "lans: [repl, wan]"],
    "8:16: replicate.lans[1]: the cluster has no lan wan: did you mean lan?",
  ],
  [["/srv/app/more", "/srv/app/data/more"], /17:13: replicate\.paths\[1\]\.path: .* lie in each other/],
  [["/srv/app/more", "/srv/app/data"], "17:13: replicate.paths[1].path: /srv/app/data is there twice"],
  [["/srv/app/more", "/srv/../etc"], /17:13: replicate\.paths\[1\]\.path: expected an absolute path/],
  [["/srv/app/more", "srv/app"], /17:13: replicate\.paths\[1\]\.path: expected an absolute path/],
  [["/srv/app/more", "/srv/app/"], /17:13: replicate\.paths\[1\]\.path: expected an absolute path/],
  [["/srv/app/more", "/"], /17:13: replicate\.paths\[1\]\.path: expected an absolute path/],
  [["/srv/app/more", `/${"x".repeat(300)}`], /17:13: replicate\.paths\[1\]\.path: /],
  [
    ["10.77.0.100/24", "10.77.0.100"],
    /5:14: virtualIps\[0\]\.address: expected an address with its prefix length/,
  ],
  [
    ["10.77.0.100/24", "10.77.0.300/24"],
    /5:14: virtualIps\[0\]\.address: "10.77.0.300" is not an IP address/,
  ],
  [["10.77.0.100/24", "10.77.0.100/33"], /5:14: .* out of range: 1 to 32/],
  [["10.77.0.100/24", "127.0.0.1/8"], /5:14: .* cannot be a virtual address/],
  [["fd00::64/64", "fd00::64/129"], /6:16: virtualIps\[1\]\.address: .* 1 to 128/],
  [['port: "5432"', "port: 5432"], "24:15: vars.port: expected a text in quotes, found 5432"],
  [["nodes: [n1, n2]", "nodes: [n1, n1]"], '2:13: nodes[1]: "n1" is there twice'],
  [["nodes: [n1, n2]", "nodes: [n1]"], "2:8: nodes: a mirror has exactly two nodes"],
  [["timeout: 1s", "timeout: 300ms"], /3:40: heartbeat\.timeout: 300ms is less than two intervals/],
  [["count: 5", "count: 1.5"], "22:19: maxLoop.count: expected a whole number from 0 to 1000, found 1.5"],
  [["boot: always", "boot:"], "21:1: boot: expected auto, always, never, found nothing"],
  [["kind: mirror", "kind: miror"], '1:7: kind: expected mirror, farm or light, found "miror"'],
  [["kind: mirror", "kind: farm"], /7:1: replicate: unknown key "replicate"/],
  [["kind: mirror", "__proto__: { a: 1 }\nkind: mirror"], "1:1: __proto__ cannot be a key"],
  [["boot: always", "boot: always\nboot: never"], /22:1: not valid YAML: Map keys must be unique/],
  [["boot: always", "boot: [always"], /not valid YAML/],
  [["boot: always", "boot: always\nsecrets: [pass-word]"], /22:11: secrets\[0\]: expected a name/],
  [
    ["boot: always", "boot: always\ncheckers: { tcp: { db: { address: '127.0.0.1:5432', interval: 10 } } }"],
    /22:63: checkers\.tcp\.db\.interval: 10 has no unit/,
  ],
];

for (const [[from, to], expected] of wrong)
  t.test(`refused: ${to.slice(0, 60)}`, async (t) => {
    const root = directory(t, { "module.yaml": good.replace(from, to) });
    const { problems, definition } = readModule(root, cluster);
    t.equal(definition, null);
    const lines = problems.map(formatProblem);
    const fits = (line: string) =>
      typeof expected === "string" ? line === `module.yaml:${expected}` : expected.test(line);
    t.ok(lines.some(fits), lines.join("\n"));
  });

t.test("all errors are told at once, in the order of the file", async (t) => {
  const root = directory(t, {
    "module.yaml": good
      .replace("timeout: 2s", "timeout: 2")
      .replace("boot: always", "bot: always\nbooot: 1")
      .replace("failover: manual", "failover: maybe"),
    "hooks/start_prm.ts": hook,
  });
  t.throws(() => loadModule(root, cluster), ModuleInvalid);
  const { problems } = readModule(root, cluster);
  t.same(
    problems.map(({ file, line, path }) => [file, line, path]),
    [
      ["hooks/start_prm.ts", 1, ""],
      ["module.yaml", 11, "replicate.timeout"],
      ["module.yaml", 19, "failover"],
      ["module.yaml", 21, "bot"],
      ["module.yaml", 22, "booot"],
    ],
  );
});

t.test("hostile files are refused, and never crash the reader", async (t) => {
  const hostile = [
    "",
    "5",
    "[]",
    "null",
    "- a",
    "kind: mirror\nkind: mirror",
    `${"[".repeat(50_000)}`,
    `${"a: ".repeat(3000)}`,
    "x".repeat(300_000),
    "\0\0",
    "? [a, b]\n: c",
    "a: &a [1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b]\nd: *c",
    "kind: !!js/function 'x'",
    "constructor: 1",
    "%YAML 9.9\n---\nkind: mirror",
    "kind: mirror\n---\nkind: mirror",
    "\ufffe\uffff",
  ];
  for (const text of hostile) {
    const { definition, problems } = readModule(directory(t, { "module.yaml": text }), cluster);
    t.equal(definition, null, text.slice(0, 30));
    t.ok(problems.length > 0 && problems.every((problem) => problem.message.length < 500));
  }
  t.match(readModule(join(tmpdir(), "not-there")).problems[0]?.message, /there is no .*module\.yaml/);
  t.match(readModule(join(tmpdir(), "x".repeat(40))).problems[0]?.message, /cannot be a module's name/);
  t.match(readModule(join(tmpdir(), "a b")).problems[0]?.message, /cannot be a module's name/);
  t.match(
    readModule(join(tmpdir(), "witness")).problems[0]?.message,
    /cannot be a module's name: the secrets/,
  );
});

const hookFiles: [files: Record<string, string>, expected: RegExp][] = [
  [
    { "hooks/start-prim.ts": hook },
    /^hooks\/start-prim\.ts:1:1: start-prim is no hook's name: did you mean start_prim\?/,
  ],
  [{ "hooks/lib/x.ts": hook }, /^hooks\/lib:1:1: lib is no hook's name/],
  [
    { "hooks/start_prim.ts": hook, "hooks/start_prim.sh": "" },
    /^hooks\/start_prim\.ts:1:1: hooks\/start_prim\.sh is there too|^hooks\/start_prim\.sh:1:1/,
  ],
  [
    { "hooks/start_prim.sh": "#!/bin/sh" },
    /^hooks\/start_prim\.sh:1:1: is neither TypeScript \(start_prim\.ts\) nor executable \(chmod \+x hooks\/start_prim\.sh\)/,
  ],
  [
    { "hooks/start_prim.ts": "const a = 1;\nexport function start() {}" },
    /^hooks\/start_prim\.ts:2:1: exports start but has no default/,
  ],
  [{ "hooks/start_prim.ts": "const a = 1;\nconst b: = 2;" }, /^hooks\/start_prim\.ts:2:10: Unexpected =/],
  [
    { "hooks/start_prim.ts": `\nimport x from "npm:pg@8"; export default x;` },
    /^hooks\/start_prim\.ts:2:15: imports npm:pg@8: .* vendor it/,
  ],
  [
    { "hooks/start_prim.ts": `export default async () => { await import("https://deno.land/x.ts") };` },
    /:1:43: imports https:\/\/deno\.land\/x\.ts: .* vendor it/,
  ],
  [
    {
      "hooks/start_prim.ts": `import x from "pg"; export default x;`,
      "deno.json": `{"imports":{"pg":"jsr:@db/pg"}}`,
    },
    /imports pg \(deno\.json maps it to jsr:@db\/pg\): .* vendor it/,
  ],
  [
    { "hooks/start_prim.ts": `import x from "pg"; export default x;` },
    /imports pg, which is not here: vendor it/,
  ],
  [
    { "hooks/start_prim.ts": `import x from "../lib/db.ts"; export default x;` },
    /imports \.\.\/lib\/db\.ts, but there is no lib\/db\.ts/,
  ],
  [
    { "hooks/start_prim.ts": `import x from "../../other/x.ts"; export default x;` },
    /lies outside of the module's folder/,
  ],
  [{ "hooks/start_prim.ts": hook, "deno.json": "{" }, /^deno\.json:1:1: not valid JSON/],
  [{ "checkers/orders.ts": hook }, /^checkers\/orders\.ts:1:1: module\.yaml has no checker custom\.orders/],
];

for (const [files, expected] of hookFiles)
  t.test(`refused: ${Object.keys(files).join(", ")} ${String(expected).slice(0, 60)}`, async (t) => {
    const { problems } = readModule(directory(t, { "module.yaml": good, ...files }), cluster);
    const lines = problems.map(formatProblem);
    t.ok(
      lines.some((line) => expected.test(line)),
      lines.join("\n"),
    );
  });

t.test("vendored code, mapped names, node: and type imports are accepted", async (t) => {
  const root = directory(t, {
    "module.yaml": good,
    "deno.json": `{"imports":{"holdfast":"./.holdfast/mod.ts","@lib/":"./lib/"}}`,
    "lib/db.ts": `import { readFile } from "node:fs/promises"; export const db = readFile;`,
    "node_modules/pg/index.js": "exports.a = 1;",
    "hooks/start_prim.ts": `import type { X } from "npm:types-only"; import { db } from "@lib/db.ts"; import pg from "pg"; import { $ } from "holdfast"; export default () => $\`\${db} \${pg}\`;`,
  });
  t.same(readModule(root, cluster).problems, []);
});
