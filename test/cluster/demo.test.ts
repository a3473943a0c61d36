/**
 * The demo, as a newcomer runs it: from the binary, to its exit status, leaving nothing behind.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import t from "tap";
import { demoImpossible } from "../../core/cli/demo/requirements.ts";

const binary = process.env["HOLDFAST_BINARY"] ?? resolve(import.meta.dir, "../../dist/holdfast");
const skip = demoImpossible() ?? (existsSync(binary) ? false : "no dist/holdfast: npm run build makes it");

/** What the demo must leave as it found it. */
function traces(): string[] {
  const mounts = readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .filter((line) => line.includes("holdfast-demo"));
  const folders = readdirSync("/var/tmp").filter((name) => name.startsWith("holdfast-demo"));
  return [...mounts, ...folders, ...readdirSync("/sys/class/net")].sort((one, other) =>
    one < other ? -1 : 1,
  );
}

t.test("the demo holds what it shows", { skip, timeout: 240_000 }, async (t) => {
  const before = traces();
  const demo = Bun.spawn([binary, "demo", "--json"], { stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr, status] = await Promise.all([
    new Response(demo.stdout).text(),
    new Response(demo.stderr).text(),
    demo.exited,
  ]);
  t.equal(status, 0, stderr);
  const events = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const proof = events.find((event) => "acknowledged" in event);
  t.ok(Number(proof?.["acknowledged"]) > 100, `rows acknowledged: ${String(proof?.["acknowledged"])}`);
  t.equal(proof?.["missing"], 0);
  const states = (node: string) =>
    events.filter((event) => event["node"] === node).map((event) => event["state"]);
  t.ok(states("n2").includes("ALONE"), `n2 took over: ${states("n2").join(" ")}`);
  t.equal(states("n1").at(-1), "PRIM", `n1 is primary again: ${states("n1").join(" ")}`);
  t.strictSame(traces(), before, "nothing is left behind");
});
