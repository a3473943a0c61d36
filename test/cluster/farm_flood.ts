/**
 * Datagrams of many clients, each from a random address of its own, made by hand: `bun farm_flood.ts MAC TO_MAC ADDRESS PORT COUNT` on a machine's `lan`.
 */
import { parseCidr, parseMac } from "../../core/network/address.ts";
import { Interfaces } from "../../core/network/interfaces.ts";
import { AF_PACKET, KernelSocket } from "../../core/platform/linux/kernel_socket.ts";

const IP_BYTES = { 4: 20, 6: 40 } as const;
/** Where the sender's address is in a frame, and how long it is. */
const SOURCE = { 4: [26, 4], 6: [22, 16] } as const;

const [mac, to, host, port, count] = process.argv.slice(2) as [string, string, string, string, string];
const { version, bytes: target } = parseCidr(host);
const frame = new Uint8Array(new ArrayBuffer(14 + IP_BYTES[version] + 8));
const view = new DataView(frame.buffer);
frame.set(parseMac(to), 0);
frame.set(parseMac(mac), 6);
if (version === 4) {
  view.setUint16(12, 0x0800);
  frame.set([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17], 14);
} else {
  view.setUint16(12, 0x86dd);
  frame.set([0x60, 0, 0, 0, 0, 8, 17, 64], 14);
}
const [at, length] = SOURCE[version];
frame.set(target, at + length);
view.setUint16(at + 2 * length, 1024);
view.setUint16(at + 2 * length + 2, Number(port));
view.setUint16(at + 2 * length + 4, 8);

const address = new Uint8Array(20);
const place = new DataView(address.buffer);
place.setUint16(0, AF_PACKET, true);
place.setInt32(4, new Interfaces().links().find(({ name }) => name === "lan")!.index, true);
const socket = new KernelSocket(AF_PACKET, 0, "cannot open a packet socket");
socket.bind(address, "cannot use lan");
for (let n = Number(count); n > 0; n--) {
  crypto.getRandomValues(frame.subarray(at + (version === 4 ? 1 : 8), at + length));
  // Of networks that the nodes have no other use for.
  frame[at] = version === 4 ? 11 : 0xfd;
  if (version === 4) {
    view.setUint16(24, 0);
    let sum = 0;
    for (let word = 14; word < 34; word += 2) sum += view.getUint16(word);
    sum = (sum & 0xffff) + (sum >> 16);
    view.setUint16(24, ~(sum + (sum >> 16)) & 0xffff);
  }
  socket.send(frame, "cannot send");
  // The kernel's queues hold a thousand.
  if (n % 500 === 0) Bun.sleepSync(1);
}
socket.close();
