/**
 * The demo from outside: makes one set of namespaces for everything, and inside them plays the story.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
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
  // Ctrl-C reaches the whole process group: the stage ends by itself, and this process waits for it.
  process.on("SIGINT", () => undefined);
  const words = ["__demo", "stage", base, keep ? "keep" : "once", output.json ? "json" : "text"];
  const stage = Bun.spawn(
    ["unshare", ...outerNamespaces(process.getuid?.() === 0), ...selfCommand(...words)],
    {
      stdin: "inherit",
      stdout: "inherit",
      stderr: "inherit",
    },
  );
  const status = await stage.exited;
  rmSync(base, { recursive: true, force: true });
  return status === 0 ? EXIT.done : EXIT.failed;
}

/** The demo's inner processes: `stage BASE keep|once json|text`, `client ADDRESS PORT`, `rows ADDRESS PORT`. */
export async function runDemoPart(words: readonly string[]): Promise<ExitStatus> {
  const [part, first, second, third] = words as [string, string, string, string];
  if (part === "client") return await runClient(first, second);
  if (part === "rows") {
    process.stdout.write(await (await fetch(`http://${first}:${second}/`)).text());
    return EXIT.done;
  }
  return await runStage(first, second === "keep", new Output(third === "json"));
}

async function runStage(base: string, keep: boolean, output: Output): Promise<ExitStatus> {
  const interrupted = new Promise<void>((resolve) => process.on("SIGINT", resolve));
  try {
    const cluster = await Promise.race([playStory(base, output), interrupted.then(() => null)]);
    if (cluster === null) return end(EXIT.failed);
    if (keep) {
      output.say(howToEnter(cluster));
      await interrupted;
    }
    output.give({ status: EXIT.done });
    return end(EXIT.done);
  } catch (error) {
    output.note(`\nholdfast: the demo failed: ${(error as Error).message}`);
    output.note(
      `the daemons' own words: ${base}/n1/daemon.log, ${base}/n2/daemon.log (kept while you read: press Ctrl-C)`,
    );
    output.give({ status: EXIT.failed, message: (error as Error).message });
    return end(EXIT.failed);
  }
}

/** Machines hang on this process's pipes: its end is theirs. */
function end(status: ExitStatus): never {
  process.exit(status);
}

function howToEnter({ n1, n2, client }: DemoCluster): string {
  const sudo = process.getuid?.() === 0 && process.env["SUDO_USER"] === undefined ? "" : "";
  const enter = (pid: number, varDir?: string) =>
    `  ${sudo}nsenter --target ${pid} --user --preserve-credentials --net --mount --pid --uts ${varDir ? `env HOLDFAST_VAR=${varDir} ` : ""}bash`;
  return [
    "The cluster goes on until you press Ctrl-C. In another terminal:",
    enter(n1.machine!.pid, n1.varDir),
    enter(n2.machine!.pid, n2.varDir),
    enter(client.pid),
    `then for instance: ${selfCommand("status").join(" ")}`,
  ].join("\n");
}
