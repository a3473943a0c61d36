/**
 * What a replicated write+fsync of 4 KiB costs beyond what it cannot do without: the slower disk's own, and one round trip to the peer.
 *
 * Each node's disk is an image of its own. Where both images are on one device, their fsyncs wait for each other, so both disks are also measured at the
 * same time: that is what a device of its own for each would take away.
 */
import { createMirror, type Mirror } from "../cluster/mirror.ts";
import type { Node } from "../cluster/testbed.ts";
import { type LongLink, lengthenLink } from "./long_link.ts";
import { median } from "./report.ts";

/** Added to a round trip, microseconds; null: without the relay, which takes its share of the processors even when it adds nothing. */
const DELAYS = [null, 0, 200, 1000];
/** What may be added to the slower disk's fsync and the round trip, microseconds. */
const AIM = 150;
/** A replication process that has just begun is slow: its code is compiled as it runs. It works for so long before anything is measured, seconds. */
const WARM_UP = 4;
const FILE_MIB = 64;
const DISK_MIB = 1024;
const worker = new URL("in_node.ts", import.meta.url).pathname;

/** Figures at one delay, microseconds. */
interface DelayFigures {
  /** What the relay was asked to add to a round trip; null: no relay. */
  delay: number | null;
  /** Measured, with all that the relay costs. */
  roundTrip: number;
  /** A replicated write+fsync of 4 KiB. */
  replicated: number;
  /** Beyond the slower disk and the round trip. */
  excess: number;
  /** The same, both disks busy at once. */
  excessBusy: number;
  /** The excess of the least that a mirror can do: see least_mirror.ts. */
  excessLeast: number;
}

/** Of one round, or medians of all; microseconds. */
interface TwoDisks {
  /** 4 KiB write+fsync on each node's disk. */
  disks: [number, number];
  /** The slower of both while both do it. */
  busyDisks: number;
  delays: DelayFigures[];
}

/** Makes the files to write into. */
async function fill({ n1, n2, data }: Mirror): Promise<void> {
  const places = [
    [n1, `${n1.dataDir}/bare`],
    [n2, `${n2.dataDir}/bare`],
    [n1, `${data}/file`],
  ] as const;
  for (const [node, file] of places)
    await node.exec(["dd", "if=/dev/zero", `of=${file}`, "bs=1M", `count=${FILE_MIB}`, "conv=fsync"]);
}

/** Median of 4 KiB write+fsync, microseconds. */
async function synced(node: Node, file: string, seconds: number): Promise<number> {
  return Number((await node.exec([process.execPath, worker, "syncedWrites", file, `${seconds}`])).stdout);
}

/** Connects both nodes anew, through the relay or past it. */
async function reconnect(mirror: Mirror, link: LongLink, relayed: boolean): Promise<void> {
  const { n1, n2 } = mirror;
  await link.turn(relayed);
  await n2.holdfast(["stop", "db"]);
  await n1.holdfast(["wait", "db", "ALONE", "--timeout", "20s"]);
  await n2.holdfast(["second", "db"]);
  await mirror.settled("PRIM", "SECOND");
  await link.check(relayed);
  await link.setDelay(0);
  await synced(n1, `${mirror.data}/file`, WARM_UP);
}

/** Everything once. */
async function measureOnce(mirror: Mirror, link: LongLink, seconds: number): Promise<TwoDisks> {
  const { n1, n2, data } = mirror;
  const bare = (node: Node): Promise<number> => synced(node, `${node.dataDir}/bare`, seconds);
  const disks: [number, number] = [await bare(n1), await bare(n2)];
  const busyDisks = Math.max(...(await Promise.all([bare(n1), bare(n2)])));
  const delays: DelayFigures[] = [];
  for (const delay of DELAYS) {
    const relayed = delay !== null;
    if (delay === null || delay === 0) await reconnect(mirror, link, relayed);
    await link.setDelay(delay ?? 0);
    const roundTrip = await link.roundTrip(relayed, seconds);
    const replicated = await synced(n1, `${data}/file`, seconds);
    const least = await link.leastMirror(relayed, [`${n1.dataDir}/bare`, `${n2.dataDir}/bare`], seconds);
    const slower = Math.max(...disks);
    delays.push({
      delay,
      roundTrip,
      replicated,
      excess: replicated - slower - roundTrip,
      excessBusy: replicated - busyDisks - roundTrip,
      excessLeast: least - slower - roundTrip,
    });
  }
  return { disks, busyDisks, delays };
}

/** Measures in rounds, everything once in each; medians. Excesses are taken within a round. */
export async function measureTwoDisks(
  images: readonly string[],
  rounds: number,
  seconds: number,
): Promise<TwoDisks> {
  const mirror = await createMirror({ diskMiB: DISK_MIB, images });
  await using _bed = mirror.bed;
  const link = await lengthenLink(mirror);
  await mirror.start();
  await fill(mirror);
  const all: TwoDisks[] = [];
  for (let round = 0; round < rounds; round++) all.push(await measureOnce(mirror, link, seconds));
  const middle = (pick: (one: TwoDisks) => number): number => median(all.map(pick));
  return {
    disks: [middle(({ disks }) => disks[0]), middle(({ disks }) => disks[1])],
    busyDisks: middle(({ busyDisks }) => busyDisks),
    delays: DELAYS.map((delay, at) => ({
      delay,
      roundTrip: middle(({ delays }) => delays[at]!.roundTrip),
      replicated: middle(({ delays }) => delays[at]!.replicated),
      excess: middle(({ delays }) => delays[at]!.excess),
      excessBusy: middle(({ delays }) => delays[at]!.excessBusy),
      excessLeast: middle(({ delays }) => delays[at]!.excessLeast),
    })),
  };
}

/** The figures for people. */
export function twoDisksInWords({ disks, busyDisks, delays }: TwoDisks): string {
  const n = (value: number): string => value.toFixed(0);
  const head = [
    "delay",
    "round trip",
    "replicated",
    "excess",
    "reached",
    "excess, busy disks",
    "of the least mirror",
  ];
  const rows = delays.map(({ delay, roundTrip, replicated, excess, excessBusy, excessLeast }) => [
    delay === null ? "no relay" : n(delay),
    n(roundTrip),
    n(replicated),
    n(excess),
    excess <= AIM ? "yes" : "no",
    n(excessBusy),
    n(excessLeast),
  ]);
  const widths = head.map((title, at) => Math.max(title.length, ...rows.map((row) => row[at]!.length)));
  const line = (row: readonly string[]): string =>
    row.map((cell, at) => cell.padStart(widths[at]!)).join("  ");
  return [
    `write+fsync of 4 KiB, microseconds: disk of n1 ${n(disks[0])}, of n2 ${n(disks[1])}, the slower with both busy ${n(busyDisks)}`,
    ...[head, ...rows].map(line),
    `excess: replicated - slower disk - round trip; aim: at most ${AIM}`,
  ].join("\n");
}
