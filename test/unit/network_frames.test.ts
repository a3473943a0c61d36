/** Frames and addresses, byte for byte as the standards have them; the wire itself is judged in test/cluster/network.test.ts. */
import t from "tap";
import { macText, parseCidr, sameNetwork } from "../../core/network/address.ts";
import {
  arpClaim,
  arpProbe,
  gratuitousArp,
  neighbourAdvertisement,
  neighbourClaim,
  neighbourProbe,
} from "../../core/network/frames.ts";

const mac = Uint8Array.from([2, 0, 0, 0, 0, 1]);
const other = Uint8Array.from([2, 0, 0, 0, 0, 2]);
const v4 = parseCidr("10.77.0.100/24").bytes;
const v6 = parseCidr("fd77::1:100/64").bytes;
/** Lengths below `limit` at which a frame that was cut short is still believed. */
const claimsOfPrefixes = (frame: Uint8Array, claim: (part: Uint8Array) => unknown, limit: number): number[] =>
  Array.from({ length: limit }, (_, length) => length).filter(
    (length) => claim(frame.subarray(0, length)) !== null,
  );
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

t.test("addresses are read whole or refused", async (t) => {
  t.match(parseCidr("10.77.0.100/24"), { host: "10.77.0.100", version: 4, prefix: 24 });
  t.equal(parseCidr("10.77.0.100").prefix, 32);
  t.equal(hex(v6), "fd770000000000000000000000010100");
  t.equal(hex(parseCidr("::ffff:10.0.0.1/128").bytes), "00000000000000000000ffff0a000001");
  t.equal(hex(parseCidr("::/1").bytes), "00".repeat(16));
  for (const bad of [
    "",
    "10.0.0.1/0",
    "10.0.0.1/33",
    "10.0.0.1/x",
    "10.0.0/8",
    "fe80::1%eth0/64",
    "fd::1/129",
    "host/24",
  ])
    t.throws(() => parseCidr(bad), /is not an IP address|prefix length/, bad);
  t.ok(sameNetwork(v4, parseCidr("10.77.0.1").bytes, 24));
  t.notOk(sameNetwork(v4, parseCidr("10.77.1.1").bytes, 24));
  t.ok(sameNetwork(v4, parseCidr("10.77.1.1").bytes, 23));
  t.notOk(sameNetwork(v4, v6, 8), "never across versions");
});

t.test("an ARP probe claims nothing, a gratuitous ARP claims for its sender", async (t) => {
  const probe = arpProbe(mac, v4);
  const [ethernet, head] = ["ffffffffffff0200000000010806", "0001080006040001"];
  t.equal(hex(probe), `${ethernet}${head}020000000001${"00".repeat(4)}${"00".repeat(6)}0a4d0064`);
  t.equal(arpClaim(probe, v4, other), null);
  for (const frame of gratuitousArp(mac, v4)) {
    t.equal(macText(arpClaim(frame, v4, other)!), "02:00:00:00:00:01");
    t.equal(arpClaim(frame, v4, mac), null, "one's own claim is no conflict");
    t.equal(arpClaim(frame, parseCidr("10.77.0.101").bytes, other), null);
    t.same(
      claimsOfPrefixes(frame, (part) => arpClaim(part, v4, other), frame.length),
      [],
    );
  }
});

t.test("an address can be told with a MAC address that is not the frame's", async (t) => {
  const [virtual, sender] = ["020000000002", "ffffffffffff020000000001"];
  for (const frame of gratuitousArp(mac, v4, other)) {
    t.equal(hex(frame).slice(0, 24), sender, "no switch learns the other one");
    t.equal(hex(frame).slice(44, 56), virtual);
  }
  const advertised = neighbourAdvertisement(mac, v6, other);
  t.equal(hex(advertised).slice(12, 24), "020000000001");
  t.equal(macText(neighbourClaim(advertised, v6, mac)!), macText(other));
});

t.test("a neighbour advertisement claims, a solicitation does not", async (t) => {
  const advertisement = neighbourAdvertisement(mac, v6);
  t.equal(macText(neighbourClaim(advertisement, v6, other)!), "02:00:00:00:00:01");
  t.equal(neighbourClaim(advertisement, v6, mac), null);
  t.equal(neighbourClaim(neighbourProbe(mac, v6), v6, other), null);
  t.equal(hex(neighbourProbe(mac, v6).subarray(0, 6)), "3333ff010100", "to those who might have it only");
  t.same(
    claimsOfPrefixes(advertisement, (part) => neighbourClaim(part, v6, other), 78),
    [],
  );
});
