/**
 * The documentation shows commands that exist, and links that lead somewhere.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import t from "tap";
import { parseWords } from "../../core/cli/parse.ts";
import { COMMANDS } from "../../core/cli/table.ts";
import { parseClusterYaml } from "../../core/cluster/cluster.ts";
import { checkModule, examineModule } from "../../modules/mod.ts";
import { scratch, writeFiles } from "../fixtures/scratch.ts";

const repository = resolve(import.meta.dir, "../..");
const pages = ["README.md", ...readdirSync(join(repository, "docs")).map((name) => `docs/${name}`)];

/** The fenced blocks of a page in one language. */
function blocks(text: string, language: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "gms"))].map((match) => match[1]!);
}

/** The commands of ours in a line of shell, without comments, redirections and what is piped. */
function commandsIn(line: string): string[][] {
  const typed = line
    .replace(/#.*/, "")
    .replace(/[<>]\s*\S+/g, "")
    .replace(/&\s*$/, "");
  return [...typed.matchAll(/(?:^|\bsudo |\$\(|\| )holdfast ([^|)]*)/g)].map((match) =>
    (match[1]!.match(/(?:'[^']*'|[^\s'])+/g) ?? []).map((word) => word.replaceAll("'", "")),
  );
}

/** What a link may name behind `#`, as GitHub makes it of a heading. */
function headingsOf(file: string): string[] {
  return [...readFileSync(file, "utf8").matchAll(/^#+ (.*)$/gm)].map((match) =>
    match[1]!
      .toLowerCase()
      .replace(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );
}

t.test("README.md leads to every page", async (t) => {
  const text = readFileSync(join(repository, "README.md"), "utf8");
  for (const page of pages.slice(1)) t.ok(text.includes(`](${page})`), page);
});

for (const page of pages) {
  const text = readFileSync(join(repository, page), "utf8");
  t.test(`${page} shows commands that exist`, async (t) => {
    for (const line of blocks(text, "sh").join("").replaceAll("\\\n", "").split("\n"))
      for (const words of commandsIn(line)) t.doesNotThrow(() => parseWords(words, COMMANDS, {}), line);
    for (const code of text.matchAll(/`holdfast ([a-z][^`]*)`/g))
      t.doesNotThrow(
        () => parseWords(code[1]!.replaceAll("COMMAND", "status").split(" "), COMMANDS, {}),
        code[0],
      );
  });

  t.test(`${page} links to what is there, headings too`, async (t) => {
    for (const [link, path, heading] of text.matchAll(/\]\(([^)#:]*)(?:#([^)]*))?\)/g)) {
      const file = path === "" ? join(repository, page) : join(repository, dirname(page), path!);
      t.ok(existsSync(file), link);
      if (heading) t.ok(headingsOf(file).includes(heading), link);
    }
  });

  t.test(`${page} shows a cluster.yaml that is one`, async (t) => {
    for (const yaml of blocks(text, "yaml").filter((block) => block.startsWith("name:")))
      t.doesNotThrow(() => parseClusterYaml(yaml));
  });
}

/** What a page that shows only a part of module.yaml leaves out. */
const REST = "kind: mirror\nreplicate: { paths: [{ path: /srv/shop }] }\n";
/** Blocks of code that do not say which file they are, in the order of their page. */
const FILES: Readonly<Record<string, readonly string[]>> = {
  "docs/checkers.md": ["rules.ts"],
  "docs/modules.md": ["hooks/start_prim.ts", "hooks.test.ts"],
  "docs/secrets.md": ["hooks/stop_prim.ts"],
};

t.test("module.yaml and code as pages show them are right, types and rules too", async (t) => {
  const home = scratch("docs");
  const code: Record<string, string> = {};
  let shown = "";
  for (const page of pages) {
    const text = readFileSync(join(repository, page), "utf8");
    const names = [...(FILES[page] ?? [])];
    for (const block of blocks(text, "ts")) {
      const path = /^\/\/ (\S+\.ts)\n/.exec(block)?.[1] ?? names.shift();
      if (path === undefined) t.fail(`${page}: of which file is this? ${block}`);
      else code[path] = block;
    }
    t.same(names, [], `${page} shows the code that is named here`);
    for (const yaml of blocks(text, "yaml").filter((block) => !block.startsWith("name:"))) {
      if (page === "docs/checkers.md") shown = yaml;
      const whole = { "module.yaml": yaml.startsWith("kind:") ? yaml : REST + yaml };
      const checkers = yaml.includes("checkers/orders.ts")
        ? { "checkers/orders.ts": "export default () => true;\n" }
        : {};
      const alone = checkModule(writeFiles(scratch("page"), { ...whole, ...checkers }));
      t.same(alone.errors, [], `${page}: ${yaml.split("\n")[0]}`);
    }
  }
  const yaml = `${REST}vars: { port: "80" }\nsecrets: [board_password, token, pgpass]\n${shown}`;
  const { errors } = await examineModule(writeFiles(home, { ...code, "module.yaml": yaml }), null, true);
  t.same(errors, []);
});
