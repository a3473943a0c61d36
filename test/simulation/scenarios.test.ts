/** The main lives of a mirror, told in text files. After a wanted change: `bun test/simulation/scenarios.test.ts --rewrite`, then read the diff. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { playScenario } from "./failover_scenario.ts";

const directory = join(import.meta.dirname, "scenarios");
for (const name of readdirSync(directory).sort()) {
  const path = join(directory, name);
  const text = readFileSync(path, "utf8");
  const now = playScenario(text);
  if (process.argv.includes("--rewrite")) writeFileSync(path, now);
  else t.equal(now, text, name);
}
if (process.argv.includes("--rewrite")) t.pass("rewritten");
