/**
 * The demo from outside: makes one set of namespaces for everything, and inside them plays the story.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { selfCommand } from "../../platform/self.ts";
import { EXIT, type ExitStatus } from "../command.ts";
import { Output } from "../output.ts";
import { runClient } from "./client.ts";
import type { DemoCluster } from "./cluster.ts";
import { demoImpossible, outerNamespaces } from "./requirements.ts";
import { playStory } from "./story.ts";

/** `holdfast demo`: everything happens in namespaces that end with it. */
export async function runDemo(keep: boolean, output: Output): Promise<ExitStatus> {
  const impossible = demoImpossible();
  if (impossible !== null) {
    output.note(`holdfast: ${impossible}`);
    output.give({ status: EXIT.failed, message: impossible });
    return EXIT.failed;
  }
  mkdirSync("/var/tmp", { recursive: true });
  const base = mkdtempSync("/var/tmp/holdfast-demo-");
  const root = process.getuid?.() === 0;
  const words = [base, keep ? "keep" : "once", output.json ? "json" : "text", root ? "root" : "user"];
  const stage = Bun.spawn(
    ["unshare", ...outerNamespaces(root), ...selfCommand("__demo", "stage", ...words)],
    {
      stdin: "inherit",
      stdout: "inherit",
      stderr: "inherit",
    },
  );
  // The stage ends by itself, and this process clears up after it.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => stage.kill("SIGINT"));
  const status = await stage.exited;
  rmSync(base, { recursive: true, force: true });
  return status === 0 ? EXIT.done : EXIT.failed;
}

/** The demo's inner processes: `stage BASE keep|once json|text root|user`, `client ADDRESS PORT`, `rows ADDRESS PORT`. */
export async function runDemoPart(words: readonly string[]): Promise<ExitStatus> {
  const [part, first, second, third, fourth] = words as [string, string, string, string, string];
  if (part === "client") return await runClient(first, second);
  if (part === "rows") {
    process.stdout.write(await (await fetch(`http://${first}:${second}/`)).text());
    return EXIT.done;
  }
  return await runStage(first, second === "keep", fourth === "root", new Output(third === "json"));
}

async function runStage(base: string, keep: boolean, root: boolean, output: Output): Promise<ExitStatus> {
  const interrupted = new Promise<null>((resolve) => process.on("SIGINT", () => resolve(null)));
  try {
    const cluster = await Promise.race([playStory(base, output), interrupted]);
    if (cluster === null) throw new Error("interrupted");
    if (keep) {
      output.say(howToEnter(cluster, root));
      await interrupted;
    }
    output.give({ status: EXIT.done, message: "all of it held" });
    return end(EXIT.done);
  } catch (error) {
    const message = (error as Error).message;
    output.note(`\nholdfast: the demo failed: ${message}`);
    for (const node of ["n1", "n2"]) output.note(lastWords(base, node));
    output.give({ status: EXIT.failed, message });
    return end(EXIT.failed);
  }
}

const LAST_LINES = 12;

/** The end of a node's logs: all that is left of the demo when it fails. */
function lastWords(base: string, node: string): string {
  const ends = ["daemon.log", "var/log/guardian.log", "var/log/demo/module.log"].map((name) => {
    const file = join(base, node, name);
    const text = existsSync(file) ? readFileSync(file, "utf8").trimEnd() : "";
    return text === ""
      ? ""
      : `${node}, end of ${name}:\n  ${text.split("\n").slice(-LAST_LINES).join("\n  ")}`;
  });
  return ends.filter((end) => end !== "").join("\n");
}

/** Machines hang on this process's pipes: its end is theirs. */
function end(status: ExitStatus): never {
  process.exit(status);
}

function howToEnter({ n1, n2, client }: DemoCluster, root: boolean): string {
  // Without root the machines are in a user namespace too; with it, entering one's own changes nothing and is refused.
  const user = root ? "" : "--user --preserve-credentials ";
  const enter = (name: string, pid: number, varDir: string) =>
    `  ${name.padEnd(7)} nsenter --target ${pid} ${user}--net --mount --pid --uts env HOLDFAST_VAR=${varDir} bash --norc`;
  return [
    "The cluster goes on until you press Ctrl-C. To enter a machine, in another terminal:",
    enter("n1", n1.machine!.pid, n1.varDir),
    enter("n2", n2.machine!.pid, n2.varDir),
    enter("client", client.pid, n1.varDir),
    `and there, for instance: ${selfCommand("status", "--watch").join(" ")}`,
  ].join("\n");
}
