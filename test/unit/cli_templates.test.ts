/**
 * Templates: each is a module without fault as it stands, and takes the user's values.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { checkModule } from "../../modules/mod.ts";
import { TEMPLATES } from "../../templates/catalog.ts";
import { compose, testedOf } from "../../templates/compose.ts";
import { instantiate, parseSetting } from "../../templates/instantiate.ts";
import { scratch, writeFiles } from "../fixtures/scratch.ts";

const work = scratch("templates");
const write = (name: string, files: Readonly<Record<string, string>>) => writeFiles(join(work, name), files);

/** What is wrong with a module, or will hurt. */
function errorsOf(directory: string): string[] {
  const { errors, warnings } = checkModule(directory);
  return [...errors, ...warnings];
}

for (const template of TEMPLATES)
  t.test(`template ${template.name} is a module without fault`, async (t) => {
    const directory = write(template.name, instantiate(template, []));
    t.strictSame(errorsOf(directory), []);
    t.match(template.files["module.yaml"], `kind: ${template.kind}`);
    t.match(
      template.files["README.md"],
      /^# .+\n## How far it was tested\n\n(Run|Not run) for real: .+\.\n$/s,
    );
    t.strictSame(template.files, template.files, "and the same each time, byte for byte");
  });

t.test("docs/templates.md lists each, as the catalogue has it", async (t) => {
  const page = readFileSync(join(import.meta.dir, "../../docs/templates.md"), "utf8");
  const rows = page.split("\n").filter((line) => line.startsWith("| `"));
  t.strictSame(
    rows,
    TEMPLATES.map(({ name, kind, systems, summary, ...template }) => {
      const tested = testedOf(template).replaceAll("\n", " ");
      return `| \`${name}\` | ${kind} | ${systems.join(", ")} | ${summary} | ${tested} |`;
    }),
  );
});

for (const template of TEMPLATES.filter(({ files }) => files["README.md"]!.includes("--set services=")))
  t.test(`template ${template.name} takes a service, as its page says`, async (t) => {
    const files = instantiate(template, [parseSetting("services=nginx")]);
    t.match(files["module.yaml"], /^services: \[ ?nginx ?\]/m);
    t.strictSame(errorsOf(write(`${template.name}-service`, files)), []);
  });

t.test("one name is enough where there is a list of names", async (t) => {
  const farm = TEMPLATES.find(({ name }) => name === "farm")!;
  const yaml = (...settings: string[]) => instantiate(farm, settings.map(parseSetting))["module.yaml"]!;
  t.match(yaml("services=nginx"), /^services: \[ ?nginx ?\] # services of the system/m);
  t.match(yaml("services=[nginx, redis]"), /^services: \[ ?nginx, redis ?\]/m);
  t.throws(() => yaml("timeouts=5m"), /holds a list or a mapping/);
});

t.test("a row that does not fit its parts is refused", async (t) => {
  const row = { name: "x", kind: "light", systems: ["Linux"], summary: "s", real: "here" } as const;
  const parts = {
    own: { "README.md": "# {{title}}\n", "lib/a.ts": "own: {{.State}}\n" },
    shared: { "README.md": "## More\n", "lib/a.ts": "shared\n", "lib/b.ts": "b\n" },
  };
  t.strictSame(compose({ ...row, parts: ["own", "shared"], words: { title: "T" } }, parts), {
    "README.md": "# T\n\n## More\n\n## How far it was tested\n\nRun for real: here.\n",
    "lib/a.ts": "own: {{.State}}\n",
    "lib/b.ts": "b\n",
  });
  t.throws(() => compose({ ...row, parts: ["other"] }, parts), /there is no templates\/other/);
  t.throws(() => compose({ ...row, parts: ["own"] }, parts), /no word title/);
  t.throws(
    () => compose({ ...row, parts: ["own"], words: { title: "T", more: "M" } }, parts),
    /uses its words more/,
  );
});

const postgresql = TEMPLATES.find(({ name }) => name === "postgresql")!;

t.test("values are set, and comments stay", async (t) => {
  const settings = ["virtualIps[0].address=10.9.9.9/24", "vars.port=5433", "vars.extra=1", "failback=n1"];
  const yaml = instantiate(postgresql, settings.map(parseSetting))["module.yaml"]!;
  t.match(yaml, "address: 10.9.9.9/24 # what clients connect to");
  t.match(yaml, 'port: "5433"');
  t.match(yaml, 'extra: "1"');
  t.match(yaml, "failback: n1");
  t.strictSame(errorsOf(write("set", { ...postgresql.files, "module.yaml": yaml })), []);
});

t.test("a setting that makes no sense is refused", async (t) => {
  t.throws(() => parseSetting("no value"), /is not path=value/);
  t.throws(() => parseSetting("a..b=1"), /is not path=value/);
  t.throws(() => instantiate(postgresql, [parseSetting("replicate=5")]), /holds a list or a mapping/);
  t.throws(() => instantiate(postgresql, [parseSetting("failback=[")]), /is not YAML/);
});
