/**
 * What the documentation lists, what the namespace has and what the suite in test/deno uses are the same.
 */
import { readdirSync, readFileSync } from "node:fs";
import t from "tap";
import { ChildProcess, Command } from "../../hooks/deno/command.ts";
import { FsFile } from "../../hooks/deno/file.ts";
import { denoNamespace } from "../../hooks/deno/mod.ts";
import { notOffered } from "../../hooks/deno/not_offered.ts";
import { Permissions } from "../../hooks/deno/permissions.ts";

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
const docs = read("docs/deno.md");
const suite = readdirSync(new URL("../deno", import.meta.url))
  .filter((name) => name.endsWith(".ts"))
  .map((name) => read(`test/deno/${name}`))
  .join("\n");
const byName = (a: string, b: string) => (a < b ? -1 : 1);
const names = (text: string) => [...text.matchAll(/`(\w+)`/g)].map(([, name]) => name!).sort(byName);
const namespace = denoNamespace("/main.ts", []);

/** The second column of each row of a table that begins with `head`; the key is the first. */
function table(head: string): Map<string, string> {
  const start = docs.indexOf(`| ${head} |`);
  const rows = docs.slice(start, docs.indexOf("\n\n", start)).split("\n").slice(2);
  return new Map(rows.map((row) => [row.split("|")[1]!.trim(), row.split("|")[2]!]));
}

/** Properties of an object and of its classes, below Object and EventTarget. */
function members(object: object): string[] {
  const found = new Set<string>();
  for (
    let one = object;
    one !== Object.prototype && one !== Function.prototype;
    one = Object.getPrototypeOf(one)
  )
    for (const name of Object.getOwnPropertyNames(one))
      if (!["constructor", "length", "name", "prototype", "fd"].includes(name)) found.add(name);
  return [...found].sort(byName);
}

t.test("the documentation lists exactly what is there", async (t) => {
  const listed = [...table("part").values()].flatMap(names).sort(byName);
  t.same(Object.keys(namespace).sort(byName), listed);
  const objects = table("object");
  const actual: Record<string, object> = {
    FsFile: FsFile.prototype,
    Command: Command.prototype,
    permissions: Permissions.prototype,
  };
  for (const [shown, text] of objects) {
    const name = shown.replaceAll("`", "");
    if (name === "ChildProcess") continue;
    const object = actual[name] ?? (Reflect.get(namespace, name) as object);
    t.same(members(object), names(text), name);
  }
  t.same(
    [...members(ChildProcess.prototype), "pid", "status"].sort(byName),
    names(objects.get("`ChildProcess`")!),
  );
  t.same(names(docs.slice(docs.indexOf("## What is not offered"))), [...notOffered].sort(byName));
});

t.test("the suite uses every name", async (t) => {
  for (const name of Object.keys(namespace))
    t.match(suite, new RegExp(`\\bDeno\\.${name}\\b|\\.${name}\\(`), name);
  for (const text of table("object").values())
    for (const member of names(text)) t.match(suite, new RegExp(`\\.${member}\\b`), member);
});

t.test("what is not offered says so", async (t) => {
  for (const name of notOffered) {
    const use = () => {
      const value: unknown = Reflect.get(namespace, name);
      return typeof value === "function" ? (value as () => unknown)() : value;
    };
    t.throws(use, { name: "NotSupported", message: new RegExp(`^Deno\\.${name} is not offered`) });
  }
});
