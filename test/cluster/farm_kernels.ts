/**
 * Kernels with the filters of a farm's nodes and no daemons, so that what each of them believes of the others stays as a test arranges it; and packets of clients
 * that do not exist.
 */
import { assign, BUCKETS } from "../../core/farm/assignment.ts";
import { rulesetOf } from "../../core/farm/ruleset.ts";
import type { Stage } from "../../core/farm/word.ts";
import { parseCidr } from "../../core/network/address.ts";
import type { PacketOrder } from "./farm_packets.ts";
import type { Host } from "./testbed.ts";

/** The farm's addresses. */
export const ADDRESSES = ["10.77.0.100", "fd77::100"] as const;
/** The MAC address of `mode: invisible`. */
export const VIRTUAL_MAC = "02:be:ef:00:00:01";
const PORT = 8080;
const TABLE = "mixed";
const names = ["n1", "n2", "n3"];
const NUMBERS = names.map((_, number) => number);
/** Clients of one batch are sent no faster than the kernel's queue between two processors takes them. */
const RATE = 20_000;

/** What the farm is at a moment: by number, each node's stage; of nodes that are not heard, none. */
export type Moment = readonly (Stage | undefined)[];

/** What one node goes by. */
export interface Belief {
  moment: Moment;
  /** What it went by until then; default: the same. */
  before?: Moment;
  isInvisible?: boolean;
  /** False: it knows of a node that goes by another assignment; default true. */
  isSettled?: boolean;
  /** How long a packet that nobody knows is only noted, ms. */
  doubtMs?: number;
  /** Nothing is kept of what the kernel had; default true. */
  anew?: boolean;
}

/** By bucket, the number of the node that has it. */
function ownersAt(moment: Moment): number[] {
  const open = names.filter((_, number) => moment[number] === "open");
  return assign({ nodes: names, weights: {}, priority: [] }, open).map((owner) => names.indexOf(owner));
}

/** Gives a node's kernel the filter that follows from what it believes. */
export async function believe(hosts: readonly Host[], me: number, belief: Belief): Promise<void> {
  const {
    moment,
    before = moment,
    isInvisible = false,
    isSettled = true,
    doubtMs = 500,
    anew = true,
  } = belief;
  const owners = ownersAt(moment);
  const gained = ownersAt(before).flatMap((owner, bucket) =>
    owner !== me && moment[owner] !== undefined && owners[bucket] === me
      ? [[bucket, { number: owner, udp: true }] as const]
      : [],
  );
  const others = (areHeard: boolean) =>
    NUMBERS.filter((other) => other !== me && (moment[other] !== undefined) === areHeard).map((number) => ({
      number,
      mac: hosts[number]!.mac("lan"),
    }));
  const text = rulesetOf(
    {
      table: TABLE,
      ...(isInvisible ? { virtualMac: VIRTUAL_MAC, settled: isSettled } : {}),
      device: "lan",
      mac: hosts[me]!.mac("lan"),
      addresses: ADDRESSES.map((host) => ({
        host,
        version: parseCidr(host).version,
        own: null,
        answers: me === 0,
      })),
      rules: [{ protocol: "tcp", ports: [PORT], affinity: "client-ip" }],
      seed: 1,
      me,
      nodes: NUMBERS.length,
      doubtMs,
      serves: moment[me] !== "closed",
      peers: others(true),
      absent: others(false),
      owners,
      former: new Map(gained),
    },
    anew,
  );
  await hosts[me]!.exec(["nft", "-f", "-"], { input: text });
}

/** What a node's kernel has counted: by default, the packets that it took. */
export async function counted(host: Host, counter = "own"): Promise<number> {
  const { stdout } = await host.exec(["nft", "list", "counter", "netdev", TABLE, counter]);
  return Number(/packets (\d+)/.exec(stdout)![1]);
}

/** A packet each of so many clients; those of one seed are the same each time. */
export interface Batch {
  /** MAC address that it goes to. */
  to: string;
  kind: PacketOrder["kind"];
  clients: number;
  seed?: number;
  address?: string;
  rate?: number;
}

/** Sends batches from a machine, one after the other. */
export async function send(from: Host, ...batches: readonly Batch[]): Promise<void> {
  const orders = batches.map((batch): PacketOrder => {
    const { clients, seed = BUCKETS, address = ADDRESSES[0], rate = RATE } = batch;
    return { ...batch, address, seed, rate, device: "lan", port: PORT, packets: clients };
  });
  const program = `${import.meta.dir}/farm_packets.ts`;
  await from.exec([process.execPath, program, JSON.stringify(orders)]);
}
