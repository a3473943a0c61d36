/**
 * No false alarm: every processor busy, and either daemon stopped for 500 ms again and again, with a heartbeat timeout of 1 s. Nothing
 * may happen.
 */
import { availableParallelism, constants, setPriority } from "node:os";
import { createMirror, type Mirror } from "../cluster/mirror.ts";
import type { Node } from "../cluster/testbed.ts";
import { lastWords } from "./power_cuts.ts";
import { randomFrom } from "./random.ts";

const STOP_MS = 500;

/** What to do, and for how long. */
export interface Alarms {
  minutes: number;
  seed: number;
  replicate: boolean;
  tell(line: string): void;
}

function daemonOf(node: Node): number {
  return node.processes().find(({ command }) => command.split(" ")[1] === "daemon")!.pid;
}

/** Throws when a node has changed its state or run a hook. */
async function expectCalm(mirror: Mirror, hooks: string, stops: string): Promise<void> {
  const states = await mirror.states();
  const ran = JSON.stringify([await mirror.scripts(mirror.n1), await mirror.scripts(mirror.n2)]);
  if (states.join() === "PRIM Ready,SECOND Ready" && ran === hooks) return;
  throw new Error(
    `after ${stops}: ${states.join(", ")}; hooks ${ran}, before ${hooks}\n${lastWords(mirror)}`,
  );
}

/** Runs it; throws at the first sign of a takeover. Returns a line of figures. */
export async function countFalseAlarms({ minutes, seed, replicate, tell }: Alarms): Promise<string> {
  const random = randomFrom(seed);
  const mirror = await createMirror({ replicate });
  await using bed = mirror.bed;
  await mirror.start();
  const hooks = JSON.stringify([await mirror.scripts(mirror.n1), await mirror.scripts(mirror.n2)]);
  const cores = availableParallelism();
  await mirror.host.spawn(["stress-ng", "--cpu", `${cores}`, "--timeout", "0"], {
    log: `${bed.dir}/stress.log`,
  });
  tell(`${minutes} minutes, ${cores} processors busy, seed ${seed}`);
  // A stop must not last longer only because this process waits for a processor.
  setPriority(constants.priority.PRIORITY_HIGHEST);
  const daemons = [daemonOf(mirror.n1), daemonOf(mirror.n2)];
  const end = performance.now() + minutes * 60_000;
  let stops = 0;
  let longest = 0;
  const soFar = (): string => `${stops} stops of a daemon, the longest ${Math.round(longest)} ms`;
  while (performance.now() < end) {
    const which = random() < 0.5 ? 0 : 1;
    const node = which === 0 ? mirror.n1 : mirror.n2;
    const began = performance.now();
    node.signal(daemons[which]!, "SIGSTOP");
    await Bun.sleep(STOP_MS);
    node.signal(daemons[which]!, "SIGCONT");
    longest = Math.max(longest, performance.now() - began);
    stops++;
    await Bun.sleep(300 + random() * 2000);
    if (stops % 20 === 0) await expectCalm(mirror, hooks, soFar());
  }
  await expectCalm(mirror, hooks, soFar());
  return `no takeover in ${minutes} minutes with ${soFar()}`;
}
