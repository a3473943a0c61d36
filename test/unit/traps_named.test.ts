/**
 * Every known way in which replicators, failover engines and FUSE file systems lose data has a number, and a test whose title says it
 * ("trap 7: …"). This one finds a number that no title says.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";

const TESTS = join(import.meta.dir, "..");
const NUMBERS = [
  ...Array.from({ length: 40 }, (_, index) => `${index + 1}`),
  ..."12a 12b 15a 16a 31a 31b 31c 35a".split(" "),
];

/** Remedies that are not built, or not held by a test: what is missing. docs/replication.md tells users the same. */
const KNOWN: Readonly<Record<string, string>> = {};

/** Titles are the texts of tests and of the lists that name them; comments do not count. */
function titlesOf(file: string): string[] {
  const text = readFileSync(file, "utf8").replace(/^\s*(?:\/?\*|\/\/).*$/gm, "");
  return [...text.matchAll(/(["'`])((?:(?!\1).)*\btraps? \d(?:(?!\1).)*)\1/g)].map((found) => found[2]!);
}

/** `trap 7`, `traps 12 and 13`, `trap 15, 15a`. */
function trapsIn(title: string): string[] {
  return [...title.matchAll(/\btraps? (\d+[a-c]?(?:(?:, | and )\d+[a-c]?)*)/g)].flatMap((found) =>
    found[1]!.split(/, | and /),
  );
}

const named = new Set(
  readdirSync(TESTS, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts") && !name.endsWith("traps_named.test.ts"))
    .flatMap((name) => titlesOf(join(TESTS, name)))
    .flatMap(trapsIn),
);

t.test("every trap has a test that says its number, or is known to be open", async (t) => {
  for (const number of NUMBERS)
    if (KNOWN[number] === undefined) t.ok(named.has(number), `trap ${number} is in a test's title`);
    else t.notOk(named.has(number), `trap ${number} is still open: ${KNOWN[number]}`);
  t.same(
    [...named].filter((number) => !NUMBERS.includes(number)),
    [],
    "no title says a number that is none",
  );
});

t.test("numbers are read from titles as people write them", async (t) => {
  t.same(trapsIn("a slow peer (traps 3 and 9: it hangs)"), ["3", "9"]);
  t.same(trapsIn("trap 15, 15a: outdate"), ["15", "15a"]);
  t.same(trapsIn("mousetrap 7, a strap"), []);
});
