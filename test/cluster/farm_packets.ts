/**
 * Packets for a farm, of clients that do not exist: `bun farm_packets.ts '{"device": …}'` sends them out of a packet socket, one after the other, and prints how long
 * that took this process; of a list of orders, each in turn, and nothing is printed. On veth the kernel does all that follows, up to the last machine's filter, in the sender's own time.
 *
 * Their checksums are wrong: the filter shares them out like any, and the stack behind it throws them away instead of answering nobody.
 */
import { parseCidr } from "../../core/network/address.ts";
import { Interfaces } from "../../core/network/interfaces.ts";
import { AF_PACKET, KernelSocket } from "../../core/platform/linux/kernel_socket.ts";
import { randomFrom } from "../campaign/random.ts";

/** What is sent. */
export interface PacketOrder {
  /** Interface that they leave by. */
  device: string;
  /** MAC address that they go to. */
  to: string;
  /** The farm's address. */
  address: string;
  port: number;
  /** A segment that opens a connection, one in the middle of it, one that ends it, or a datagram. */
  kind: "syn" | "ack" | "fin" | "udp";
  /** How many clients there are, at random addresses and ports. */
  clients: number;
  /** How many packets: each client sends one, then each another. */
  packets: number;
  seed: number;
  /** At most so many a second; 0: as fast as it goes. */
  rate: number;
}

/** What is printed. */
export interface PacketsSent {
  /** Processor time of the sender for each packet, nanoseconds. */
  nanoseconds: number;
}

const ETHERTYPE = { 4: [0x08, 0x00], 6: [0x86, 0xdd] } as const;
const PROTOCOL = { syn: 6, ack: 6, fin: 6, udp: 17 } as const;
const FLAGS = { syn: 0x02, ack: 0x10, fin: 0x11 } as const;
const WRONG_CHECKSUM = [0xde, 0xad];
/** Packets between two looks at the clock. */
const BURST = 64;

/** Sum of 16-bit words, as RFC 1071 has it. */
function checksum(header: readonly number[]): number[] {
  let sum = 0;
  for (let at = 0; at < header.length; at += 2) sum += (header[at]! << 8) | header[at + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return [(~sum >> 8) & 255, ~sum & 255];
}

/** An address that any client may have: none of this machine, no group, none of 10.0.0.0/8, where the nodes are. */
function clientFrom(below: (limit: number) => number, version: 4 | 6): number[] {
  if (version === 6) return [0x20, 0x01, 0x0d, 0xb8, ...Array.from({ length: 12 }, () => below(256))];
  const first = 11 + below(212);
  return [first === 127 ? 223 : first, below(256), below(256), below(256)];
}

/** The frames of all clients, one each. */
function framesOf(order: PacketOrder, ethernet: readonly number[]): Uint8Array[] {
  const { version, bytes } = parseCidr(order.address);
  const random = randomFrom(order.seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const protocol = PROTOCOL[order.kind];
  return Array.from({ length: order.clients }, () => {
    const client = clientFrom(below, version);
    const source = 1024 + below(64_000);
    const ports = [source >> 8, source & 255, order.port >> 8, order.port & 255];
    const numbers = [0, 0, 0, 1, 0, 0, 0, 1];
    const transport =
      order.kind === "udp"
        ? [...ports, 0, 8, ...WRONG_CHECKSUM]
        : [...ports, ...numbers, 0x50, FLAGS[order.kind], 0x20, 0, ...WRONG_CHECKSUM, 0, 0];
    if (version === 6) {
      const head = [0x60, 0, 0, 0, 0, transport.length, protocol, 64];
      return Uint8Array.from([...ethernet, ...ETHERTYPE[6], ...head, ...client, ...bytes, ...transport]);
    }
    const start = [0x45, 0, 0, 20 + transport.length, 0, 0, 0x40, 0, 64, protocol];
    const sum = checksum([...start, 0, 0, ...client, ...bytes]);
    return Uint8Array.from([
      ...ethernet,
      ...ETHERTYPE[4],
      ...start,
      ...sum,
      ...client,
      ...bytes,
      ...transport,
    ]);
  });
}

/** A packet socket on one interface that receives nothing (packet(7): protocol 0). */
function openSocket(index: number): KernelSocket {
  const what = "cannot open a packet socket";
  const socket = new KernelSocket(AF_PACKET, 0, what);
  const address = new Uint8Array(20);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_PACKET, true);
  view.setInt32(4, index, true);
  socket.bind(address, what);
  return socket;
}

async function send(order: PacketOrder): Promise<PacketsSent> {
  const link = new Interfaces().links().find(({ name }) => name === order.device);
  if (!link) throw new Error(`there is no interface ${order.device}`);
  const to = order.to.split(":").map((byte) => Number.parseInt(byte, 16));
  const frames = framesOf(order, [...to, ...link.mac]);
  const socket = openSocket(link.index);
  const began = performance.now();
  const before = process.cpuUsage();
  for (let sent = 0; sent < order.packets; sent++) {
    socket.send(frames[sent % frames.length]!, "a packet cannot be sent");
    if (order.rate > 0 && sent % BURST === 0)
      await Bun.sleep(Math.max(0, began + (1000 * sent) / order.rate - performance.now()));
  }
  const { user, system } = process.cpuUsage(before);
  return { nanoseconds: (1000 * (user + system)) / order.packets };
}

if (import.meta.main) {
  const orders = JSON.parse(process.argv[2]!) as PacketOrder | PacketOrder[];
  if (!Array.isArray(orders)) console.log(JSON.stringify(await send(orders)));
  else for (const order of orders) await send(order);
}
