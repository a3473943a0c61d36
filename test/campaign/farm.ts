/**
 * A farm for long: what clients notice when nodes fail, come back and are drained, all of it under load.
 */
import type { Probe } from "../cluster/farm_client.ts";
import { balancing, createFarm, type FarmLab, type FarmMode } from "../cluster/farm_lab.ts";
import type { Node } from "../cluster/testbed.ts";

const ALL = ["n1", "n2", "n3"];
/** Connections that stay or come and go, and clients that connect anew, during each act. */
const LOAD = 120;
const PROBING = 12;
/** Those of the load, numbered from here, are others than those that connect anew. */
const LOAD_FROM = 20_000;
/** What was lost is sent again within this, ms. */
const SETTLE_MS = 1500;
const TIMEOUT_MS = 1000;
/** How long new clients may wait when a node fails, ms. */
const LONGEST_GAP_MS = TIMEOUT_MS + 200;
const DRAIN = ["drain", "web", "--timeout", "20s"];

/** What was seen of one kind of act, all rounds of it. */
interface Tally {
  what: string;
  /** How long new connections of those failed that were with the node that failed, ms. */
  gaps: number[];
  /** New connections that failed of others, where none may. */
  refused: number;
  /** Connections or requests of those whose nodes lived all the time; of them, those that were reset, moved or left without an answer. */
  load: number;
  lost: number;
  /** The longest that one of these waited for an answer, ms. */
  waitedMs: number;
}

const tallyOf = (what: string): Tally => ({ what, gaps: [], refused: 0, load: 0, lost: 0, waitedMs: 0 });

/** From the last connection that was answered before the first that was not, to the first that was answered after the last that was not; 0: all were. */
function gapOf(probes: readonly Probe[]): number {
  const failed = (probe: Probe): boolean => probe.node === null;
  const first = probes.findIndex(failed);
  if (first < 0) return 0;
  const after = probes[probes.findLastIndex(failed) + 1];
  return (after?.at ?? Number.POSITIVE_INFINITY) - (probes[first - 1]?.at ?? 0);
}

/** See the top of the file. */
class FarmCampaign {
  readonly #wrong: string[] = [];
  readonly #acts = {
    front: tallyOf("power cut of the node that answers ARP"),
    other: tallyOf("power cut of another"),
    back: tallyOf("a node joined again"),
    drained: tallyOf("a node was drained"),
  };

  constructor(
    private readonly lab: FarmLab,
    private readonly tell: (line: string) => void,
  ) {}

  async round(round: number): Promise<void> {
    const { lab } = this;
    const { front: first, other, back, drained } = this.#acts;
    const front = await lab.front();
    const others = lab.nodes.filter((node) => node !== front);
    for (const [dead, tally] of [
      [front, first],
      [others[round % 2]!, other],
    ] as const) {
      await this.#fails(dead, tally);
      await this.#joins(back, () => lab.boot(dead));
    }
    const leaver = others[(round + 1) % 2]!;
    await this.#drains(leaver, drained);
    await this.#joins(back, () => leaver.holdfast(["start", "web"]));
  }

  #fault(tally: Tally, text: string): void {
    this.#wrong.push(`${tally.what}: ${text}`);
    this.tell(this.#wrong.at(-1)!);
  }

  async #fails(dead: Node, tally: Tally): Promise<void> {
    const { lab } = this;
    const probe = await this.#stays(dead, tally, async () => {
      await dead.powerCut();
      await lab.shared(ALL.filter((name) => name !== dead.name));
      await Bun.sleep(SETTLE_MS);
    });
    const own = clientsOf(probe, dead.name);
    const gap = gapOf(probe.filter(({ client }) => own.has(client)));
    tally.gaps.push(gap);
    if (gap > LONGEST_GAP_MS) this.#fault(tally, `${dead.name}'s clients waited ${Math.round(gap)} ms`);
    if (gap === 0) this.#fault(tally, `no client of ${dead.name} noticed anything`);
    // Who asks while nobody answers ARP waits, whoever serves him.
    if (tally === this.#acts.other) this.#refused(tally, probe, own);
  }

  async #joins(tally: Tally, act: () => Promise<unknown>): Promise<void> {
    const probe = await this.#stays(null, tally, async () => {
      await act();
      await this.lab.shared(ALL);
    });
    this.#refused(tally, probe, new Set());
  }

  async #drains(node: Node, tally: Tally): Promise<void> {
    const load = await this.lab.turnover(LOAD, { first: LOAD_FROM });
    const probe = await this.lab.probe(PROBING);
    const { stdout } = await node.holdfast(DRAIN);
    await Bun.sleep(SETTLE_MS);
    const [{ requests, connections, failures }, probes] = await Promise.all([load.end(), probe.end()]);
    if (!stdout.includes("every connection has ended")) this.#fault(tally, stdout.trim());
    const failed = Object.values(failures).reduce((sum, count) => sum + count, 0);
    tally.load += requests;
    tally.lost += failed;
    if (failed > 0) this.#fault(tally, `of ${connections} connections failed: ${JSON.stringify(failures)}`);
    this.#refused(tally, probes, new Set());
  }

  /** Connections that stay, and new ones, during an act. */
  async #stays(dead: Node | null, tally: Tally, act: () => Promise<void>): Promise<Probe[]> {
    const load = await this.lab.stay(LOAD, { first: LOAD_FROM });
    const probe = await this.lab.probe(PROBING);
    await act();
    const [all, probes] = await Promise.all([load.end(), probe.end()]);
    const others = all.filter(({ nodes }) => dead === null || nodes[0] !== dead.name);
    const lost = others.filter(({ end, nodes, openMs }) => end !== "" || nodes.length !== 1 || openMs > 0);
    tally.load += others.length;
    tally.lost += lost.length;
    tally.waitedMs = Math.max(tally.waitedMs, ...others.map(({ longestMs }) => longestMs));
    for (const one of lost) this.#fault(tally, `lost: ${JSON.stringify(one)}`);
    return probes;
  }

  #refused(tally: Tally, probes: readonly Probe[], besides: ReadonlySet<string>): void {
    const failed = probes.filter(({ client, node }) => node === null && !besides.has(client));
    tally.refused += failed.length;
    for (const { client, at } of failed) {
      const own = probes.filter((probe) => probe.client === client && probe.node !== null);
      const before = own.findLast((probe) => probe.at < at)?.node;
      const after = own.find((probe) => probe.at > at)?.node;
      this.#fault(tally, `a new connection of ${client} failed, between ones with ${before} and ${after}`);
    }
  }

  /** The figures in words; throws with them, and with what is not as it must be. */
  judged(): string {
    const lines = Object.values(this.#acts).map(inWords);
    if (this.#wrong.length > 0) throw new Error([...lines, ...this.#wrong].join("\n"));
    return lines.join("\n");
  }
}

/** Those that a node answered at first. */
function clientsOf(probes: readonly Probe[], node: string): Set<string> {
  return new Set(probes.slice(0, PROBING).flatMap((probe) => (probe.node === node ? [probe.client] : [])));
}

function inWords({ what, gaps, refused, load, lost, waitedMs }: Tally): string {
  const sorted = gaps.toSorted((a, b) => a - b).map(Math.round);
  const told =
    sorted.length === 0
      ? []
      : [
          `new clients of that node waited ${sorted[sorted.length >> 1]} ms (median), ${sorted.at(-1)} ms at most: ${sorted.join(", ")}`,
        ];
  const waited = waitedMs > 0 ? [`an answer took ${Math.round(waitedMs)} ms at most`] : [];
  const rest = [
    `${load} ${waitedMs > 0 ? "connections" : "requests"} of others, ${lost} lost`,
    `${refused} new ones failed`,
  ];
  return `${what}: ${[...told, ...rest, ...waited].join("; ")}`;
}

/** Returns the figures in words; throws, after all rounds, with what is not as it must be. */
export async function measureFarm(options: {
  rounds: number;
  mode: FarmMode;
  tell(line: string): void;
}): Promise<string> {
  const { rounds, mode, tell } = options;
  const heartbeat = `{ interval: 200ms, timeout: ${TIMEOUT_MS}ms }`;
  const lab = await createFarm({ heartbeat, balancing: balancing(mode) });
  await using _bed = lab.bed;
  await lab.nodes[0]!.holdfast(["start", "web", "--all"]);
  await lab.shared(ALL);
  const campaign = new FarmCampaign(lab, tell);
  for (let round = 0; round < rounds; round++) {
    await campaign.round(round);
    tell(`round ${round + 1} of ${rounds}`);
  }
  return campaign.judged();
}
