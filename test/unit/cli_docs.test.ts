/**
 * The documentation shows commands that exist, and links that lead somewhere.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import t from "tap";
import { parseWords } from "../../core/cli/parse.ts";
import { COMMANDS } from "../../core/cli/table.ts";
import { parseClusterYaml } from "../../core/cluster/cluster.ts";

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
    match[1]!.trim().split(/\s+/),
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
    for (const line of blocks(text, "sh").join("").split("\n"))
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
