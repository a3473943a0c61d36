/**
 * A farm for long: how evenly the kernel's filter shares many clients out, and what clients notice when nodes fail, come back and are drained.
 */
import { createFarm, type FarmLab, UDP_PORT } from "../cluster/farm_lab.ts";
import type { Node } from "../cluster/testbed.ts";

const ALL = ["n1", "n2", "n3"];
/** Connections that stay, and clients that connect anew, during each act. */
const STAYING = 200;
const PROBING = 64;
const SETTLE_MS = 1500;

/** What was seen of one kind of act. */
interface Tally {
  gaps: number[];
  /** Connections with nodes that lived all the time; of them, those that were reset, moved or left waiting. */
  connections: number;
  lost: number;
}

async function during(
  lab: FarmLab,
  dead: Node | null,
  tally: Tally,
  act: () => Promise<unknown>,
): Promise<void> {
  const stays = await lab.stay(STAYING, { first: 20_000 });
  const probe = await lab.probe(PROBING);
  await act();
  await Bun.sleep(SETTLE_MS);
  const [all, { gapMs }] = await Promise.all([stays.end(), probe.end()]);
  const others = all.filter(({ nodes }) => nodes[0] !== dead?.name);
  tally.gaps.push(gapMs);
  tally.connections += others.length;
  tally.lost += others.filter(
    ({ end, nodes, openMs }) => end !== "" || nodes.length !== 1 || openMs > 0,
  ).length;
}

const inWords = (what: string, { gaps, connections, lost }: Tally): string => {
  const sorted = gaps.toSorted((a, b) => a - b);
  const at = (part: number): string =>
    `${Math.round(sorted[Math.floor(part * (sorted.length - 1))] ?? 0)} ms`;
  return `${what}: ${gaps.length} times; new connections failed for ${at(0.5)} (median), ${at(1)} at most; ${connections} connections with other nodes, ${lost} of them lost`;
};

/** Returns the figures in words. */
export async function measureFarm(options: {
  rounds: number;
  clients: number;
  tell(line: string): void;
}): Promise<string> {
  const { rounds, clients, tell } = options;
  const lab = await createFarm();
  await using _bed = lab.bed;
  await lab.nodes[0]!.holdfast(["start", "web", "--all"]);
  await lab.shared(ALL);
  for (const node of lab.nodes) await lab.answerByUdp(node, "10.77.0.100");
  const { answers, failures } = await lab.visit(clients, { by: "udp", port: UDP_PORT });
  const shares = ALL.map((name) => `${name} ${((100 * (answers[name] ?? 0)) / clients).toFixed(2)} %`).join(
    ", ",
  );
  tell(`${clients} clients: ${shares}; without an answer: ${JSON.stringify(failures)}`);
  const tally = (): Tally => ({ gaps: [], connections: 0, lost: 0 });
  const acts = { front: tally(), other: tally(), back: tally(), drained: tally() };
  for (let round = 0; round < rounds; round++) {
    const front = await lab.front();
    const others = lab.nodes.filter((node) => node !== front);
    for (const [dead, told] of [
      [front, acts.front],
      [others[round % 2]!, acts.other],
    ] as const) {
      const rest = ALL.filter((name) => name !== dead.name);
      await during(lab, dead, told, async () => {
        await dead.powerCut();
        await lab.shared(rest);
      });
      await during(lab, null, acts.back, async () => {
        await lab.boot(dead);
        await lab.shared(ALL);
      });
    }
    const drained = others[(round + 1) % 2]!;
    await during(lab, drained, acts.drained, () => drained.holdfast(["drain", "web", "--timeout", "2s"]));
    await drained.holdfast(["start", "web"]);
    await lab.shared(ALL);
    tell(
      `round ${round + 1} of ${rounds}: gaps so far ${acts.front.gaps.map(Math.round).join(", ")} ms (front)`,
    );
  }
  return [
    inWords("power cut of the node that answers ARP", acts.front),
    inWords("power cut of another", acts.other),
    inWords("a node came back", acts.back),
    inWords("a node was drained", acts.drained),
  ].join("\n");
}
