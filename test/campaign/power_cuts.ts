/**
 * The loop that the campaigns share: PRIM's power goes at a random moment, the other node takes over, the dead one comes back
 * and follows; then the other way round.
 */
import { readFileSync } from "node:fs";
import { differences, fingerprint } from "../../core/cli/demo/compare.ts";
import type { Mirror } from "../cluster/mirror.ts";
import { type Node, until } from "../cluster/testbed.ts";
import { randomFrom } from "./random.ts";

/** What to do with a mirror whose PRIM loses its power again and again. */
export interface PowerCuts {
  mirror: Mirror;
  cuts: number;
  /** Every so many cuts, both nodes lose their power at once; absent: never. */
  bothEvery?: number;
  seed: number;
  /** PRIM runs for a random time between these two, ms, before its power goes. */
  calmMs: readonly [number, number];
  /** Runs when the survivor is ALONE. What it throws ends the loop. */
  afterFailover(survivor: Node): Promise<string>;
  /** Runs when both are together again. */
  afterReintegration(prim: Node): Promise<string>;
  /** Takes a line for people. */
  tell(line: string): void;
}

/** Longest that taking over or coming back may take here, on a machine that does much else. */
export const PATIENCE = "60s";
/** A command that waits is killed after this time, ms. */
const LONGEST_WAIT = 600_000;

/** The node that is PRIM or ALONE. */
export async function primary(mirror: Mirror): Promise<Node> {
  const [first] = await mirror.states();
  return first.startsWith("PRIM") || first.startsWith("ALONE") ? mirror.n1 : mirror.n2;
}

/** Runs the loop; throws, with both nodes' last words, when something is not as it must be. */
export async function cutPowerRepeatedly(campaign: PowerCuts): Promise<void> {
  const { mirror, cuts, seed, calmMs, tell } = campaign;
  const random = randomFrom(seed);
  tell(`${cuts} power cuts, seed ${seed}`);
  for (let cut = 1; cut <= cuts; cut++) {
    const prim = await primary(mirror);
    const survivor = prim === mirror.n1 ? mirror.n2 : mirror.n1;
    const both = campaign.bothEvery !== undefined && cut % campaign.bothEvery === 0;
    try {
      await Bun.sleep(calmMs[0] + random() * (calmMs[1] - calmMs[0]));
      if (both) await onlySecondReturns(prim, survivor);
      else await prim.powerCut();
      await survivor.holdfast(["wait", "db", "ALONE", "--timeout", PATIENCE]);
      const found = await campaign.afterFailover(survivor);
      const began = performance.now();
      await comesBack(mirror, prim, survivor);
      const back = Math.round(performance.now() - began);
      const equal = await campaign.afterReintegration(survivor);
      tell(`cut ${cut} of ${both ? "both" : prim.name}: ${found}; back as SECOND after ${back} ms; ${equal}`);
    } catch (error) {
      throw new Error(
        `cut ${cut} of ${prim.name}, seed ${seed}: ${(error as Error).message}\n${lastWords(mirror)}`,
      );
    }
  }
}

/** Both lose their power, and only the old SECOND returns: now it counts what had reached its disk, not its memory. */
export async function onlySecondReturns(prim: Node, second: Node): Promise<void> {
  await Promise.all([second.powerCut(), prim.powerCut()]);
  await second.powerOn();
  await second.startDaemon();
  await second.holdfast(["prim", "db", "--force"]);
}

/** The machine boots and its node follows the survivor. */
export async function comesBack(mirror: Mirror, node: Node, survivor: Node): Promise<void> {
  await node.powerOn();
  await node.startDaemon();
  await together(mirror, survivor);
}

/** Waits until one node is PRIM and the other follows it, all copied. */
export async function together(mirror: Mirror, prim: Node, timeout = PATIENCE): Promise<void> {
  const second = prim === mirror.n1 ? mirror.n2 : mirror.n1;
  await Promise.all([
    prim.holdfast(["wait", "db", "PRIM", "--timeout", timeout], { timeoutMs: LONGEST_WAIT }),
    second.holdfast(["wait", "db", "SECOND", "--timeout", timeout], { timeoutMs: LONGEST_WAIT }),
  ]);
  await until("both are settled", async () => {
    const states = await mirror.states(prim);
    return states.includes("PRIM Ready") && states.includes("SECOND Ready");
  });
}

/** The end of each node's log. */
export function lastWords(mirror: Mirror): string {
  return [mirror.n1, mirror.n2].map((node) => `--- ${node.name}\n${endOfLog(node)}`).join("\n");
}

function endOfLog(node: Node): string {
  try {
    const text = readFileSync(node.on.path(`${node.varDir}/log/db/module.log`), "utf8");
    const daemon = readFileSync(node.daemonLog, "utf8");
    return [text, daemon].flatMap((log) => log.trim().split("\n").slice(-40)).join("\n");
  } catch (error) {
    return (error as Error).message;
  }
}

/** Both directories as they can be read, file by file: a judge that trusts nothing of the product. Nothing may write to them. */
export async function compareDirectories(mirror: Mirror): Promise<string> {
  const read = (node: Node): Map<string, string> => fingerprint(node.on.path(mirror.data));
  let different: string[] = [];
  await until(
    "both directories hold the same",
    () => {
      try {
        different = differences(read(mirror.n1), read(mirror.n2));
      } catch (error) {
        // SECOND may still remove what PRIM removed last, while it is read here.
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
        different = ["a file that went while it was read"];
      }
      return different.length === 0;
    },
    30_000,
    500,
  ).catch((error: unknown) => {
    throw new Error(
      `${different.length} files differ: ${different.slice(0, 10).join(", ")} (${(error as Error).message})`,
    );
  });
  return `${read(mirror.n1).size} files and directories, all equal`;
}

/** `holdfast verify`: throws with the differences. */
export async function verifyEqual(prim: Node, timeoutMs?: number): Promise<string> {
  const { status, stdout, stderr } = await prim.holdfast(["verify", "db"], {
    mayFail: true,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  });
  if (status !== 0) throw new Error(`verify: status ${status}: ${stdout}${stderr}`);
  return "verify: equal";
}
