/**
 * What a replicated write+fsync of 4 KiB costs beyond what it cannot do without: the slower disk's own, and one round trip to the peer.
 *
 * Each node's disk is an image of its own. Where both images are on one device, their fsyncs wait for each other, so both disks are also measured at the
 * same time: that is what a device of its own for each would take away.
 */
import { createMirror } from "../cluster/mirror.ts";
import { lengthenLink } from "./long_link.ts";
import { median } from "./report.ts";

/** Added to a round trip, microseconds. */
const DELAYS = [0, 200, 1000];
/** What may be added to the slower disk's fsync and the round trip, microseconds. */
export const AIM = 150;
const FILE_MIB = 64;
const DISK_MIB = 1024;
const worker = new URL("in_node.ts", import.meta.url).pathname;

/** Medians of one round, or of all; microseconds. */
export interface DelayFigures {
  /** What the relay was asked to add to a round trip. */
  delay: number;
  /** Through the relay, measured. */
  roundTrip: number;
  replicated: number;
  /** Beyond the slower disk and the round trip. */
  excess: number;
  /** The same, both disks busy at once. */
  excessBusy: number;
}

/** All of it. */
export interface TwoDisks {
  /** 4 KiB write+fsync on each node's disk. */
  disks: [number, number];
  /** The slower of both while both do it. */
  busyDisks: number;
  /** A round trip without the relay. */
  direct: number;
  delays: DelayFigures[];
}

/** One round: everything once. */
type Round = () => Promise<TwoDisks>;

async function prepare(images: readonly string[], seconds: number) {
  const mirror = await createMirror({ diskMiB: DISK_MIB, images });
  const { n1, n2, bed } = mirror;
  try {
    const link = await lengthenLink(mirror);
    await mirror.start();
    await link.checkInUse();
    const bare = [`${n1.dataDir}/bare`, `${n2.dataDir}/bare`] as const;
    const replicated = `${mirror.data}/file`;
    const fill = (file: string): string[] => [
      "dd",
      "if=/dev/zero",
      `of=${file}`,
      "bs=1M",
      `count=${FILE_MIB}`,
      "conv=fsync",
    ];
    for (const [node, file] of [
      [n1, bare[0]],
      [n2, bare[1]],
      [n1, replicated],
    ] as const)
      await node.exec(fill(file));
    const synced = async (node: typeof n1, file: string): Promise<number> =>
      Number((await node.exec([process.execPath, worker, "syncedWrites", file, `${seconds}`])).stdout);
    const round: Round = async () => {
      const disks: [number, number] = [await synced(n1, bare[0]), await synced(n2, bare[1])];
      const busyDisks = Math.max(...(await Promise.all([synced(n1, bare[0]), synced(n2, bare[1])])));
      const direct = await link.directRoundTrip(seconds);
      const delays: DelayFigures[] = [];
      for (const delay of DELAYS) {
        await link.setDelay(delay);
        const roundTrip = await link.roundTrip(seconds);
        const own = await synced(n1, replicated);
        delays.push({
          delay,
          roundTrip,
          replicated: own,
          excess: own - Math.max(...disks) - roundTrip,
          excessBusy: own - busyDisks - roundTrip,
        });
      }
      return { disks, busyDisks, direct, delays };
    };
    return { bed, round };
  } catch (error) {
    await bed.destroy();
    throw error;
  }
}

/** Measures in rounds, everything once in each; medians. Excesses are taken within a round. */
export async function measureTwoDisks(
  images: readonly string[],
  rounds: number,
  seconds: number,
): Promise<TwoDisks> {
  const { bed, round } = await prepare(images, seconds);
  await using _bed = bed;
  const all: TwoDisks[] = [];
  for (let i = 0; i < rounds; i++) all.push(await round());
  const middle = (pick: (one: TwoDisks) => number): number => median(all.map(pick));
  const ofDelay = (at: number, key: keyof DelayFigures): number => middle(({ delays }) => delays[at]![key]);
  return {
    disks: [middle(({ disks }) => disks[0]), middle(({ disks }) => disks[1])],
    busyDisks: middle(({ busyDisks }) => busyDisks),
    direct: middle(({ direct }) => direct),
    delays: DELAYS.map((delay, at) => ({
      delay,
      roundTrip: ofDelay(at, "roundTrip"),
      replicated: ofDelay(at, "replicated"),
      excess: ofDelay(at, "excess"),
      excessBusy: ofDelay(at, "excessBusy"),
    })),
  };
}

/** The figures for people. */
export function twoDisksInWords({ disks, busyDisks, direct, delays }: TwoDisks): string {
  const n = (value: number): string => value.toFixed(0);
  const head = ["delay", "round trip", "replicated", "excess", "reached", "excess, busy disks"];
  const rows = delays.map(({ delay, roundTrip, replicated, excess, excessBusy }) => [
    n(delay),
    n(roundTrip),
    n(replicated),
    n(excess),
    excess <= AIM ? "yes" : "no",
    n(excessBusy),
  ]);
  const widths = head.map((title, at) => Math.max(title.length, ...rows.map((row) => row[at]!.length)));
  const line = (row: readonly string[]): string =>
    row.map((cell, at) => cell.padStart(widths[at]!)).join("  ");
  return [
    `write+fsync of 4 KiB, microseconds: disk of n1 ${n(disks[0])}, of n2 ${n(disks[1])}, the slower with both busy ${n(busyDisks)}; round trip without relay ${n(direct)}`,
    ...[head, ...rows].map(line),
    `excess: replicated - slower disk - round trip through the relay; aim: at most ${AIM}`,
  ].join("\n");
}
