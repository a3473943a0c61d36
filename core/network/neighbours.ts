/**
 * What the neighbours on the wire believe about an address: asked before it is taken, and told when it is.
 */
import { AF_PACKET, KernelSocket } from "../platform/linux/kernel_socket.ts";
import { isRefusal } from "../platform/linux/netlink.ts";
import type { Cidr } from "./address.ts";
import {
  arpClaim,
  arpProbe,
  gratuitousArp,
  neighbourAdvertisement,
  neighbourClaim,
  neighbourProbe,
} from "./frames.ts";
import type { Link } from "./interfaces.ts";

const ETHERTYPE_ARP = 0x0806;
const ETHERTYPE_IPV6 = 0x86dd;
const SOL_PACKET = 263;
const PACKET_IGNORE_OUTGOING = 23;
/** How often a question is repeated while waiting for an answer, ms. */
const ASK_EVERY_MS = 40;
const LOOK_EVERY_MS = 4;

/** A packet socket on one interface that sees only one version's claims. */
function openPacketSocket(link: Link, version: 4 | 6): KernelSocket {
  const type = version === 4 ? ETHERTYPE_ARP : ETHERTYPE_IPV6;
  const swapped = ((type & 255) << 8) | (type >> 8);
  const what = `cannot open a packet socket on ${link.name} (root or CAP_NET_RAW is needed)`;
  const socket = new KernelSocket(AF_PACKET, 0, what);
  const address = new Uint8Array(20);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_PACKET, true);
  view.setUint16(2, swapped, true);
  view.setInt32(4, link.index, true);
  socket.option(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
  try {
    socket.bind(address, what);
  } catch (error) {
    socket.close();
    throw error;
  }
  return socket;
}

/** Who says that it has an address: the MAC address that it tells, and the one that it says so from. */
export interface Claim {
  mac: Uint8Array;
  sender: Uint8Array;
}

/** Another machine that has `address` on this link now, or null after `waitMs` of silence. `mayHave`: whose answer does not count. */
export async function whoHas(
  link: Link,
  address: Cidr,
  waitMs: number,
  mayHave: (claim: Claim) => boolean = () => false,
): Promise<Claim | null> {
  if (!link.ethernet) return null;
  const socket = openPacketSocket(link, address.version);
  const [probe, claimantOf] =
    address.version === 4
      ? [arpProbe(link.mac, address.bytes), arpClaim]
      : [neighbourProbe(link.mac, address.bytes), neighbourClaim];
  try {
    const started = performance.now();
    let nextQuestion = 0;
    for (;;) {
      const waited = performance.now() - started;
      if (waited >= nextQuestion && waited < waitMs) {
        socket.send(probe, `cannot ask on ${link.name} who has ${address.host}`);
        nextQuestion += ASK_EVERY_MS;
      }
      for (let frame = socket.receive(0, link.name); frame; frame = socket.receive(0, link.name)) {
        const mac = claimantOf(frame, address.bytes, link.mac);
        const claim = mac && { mac, sender: frame.slice(6, 12) };
        if (claim && !mayHave(claim)) return claim;
      }
      // After the look: a process that had no processor for so long has an answer waiting.
      if (waited >= waitMs) return null;
      await Bun.sleep(LOOK_EVERY_MS);
    }
  } finally {
    socket.close();
  }
}

/** Tells everyone on the link that `address` is here, at `mac`, unless the kernel has silenced it meanwhile (deadline.ts). Throws. */
export function announce(link: Link, address: Cidr, mac = link.mac): void {
  if (!link.ethernet) return;
  const socket = openPacketSocket(link, address.version);
  const frames =
    address.version === 4
      ? gratuitousArp(link.mac, address.bytes, mac)
      : [neighbourAdvertisement(link.mac, address.bytes, mac)];
  try {
    for (const frame of frames) socket.send(frame, `cannot announce ${address.host} on ${link.name}`);
  } catch (error) {
    if (!isRefusal(error, "ENOBUFS")) throw error;
  } finally {
    socket.close();
  }
}
