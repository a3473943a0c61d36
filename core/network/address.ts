/**
 * IP addresses as the kernel wants them: bytes and a prefix length.
 */
import { isIPv4, isIPv6 } from "node:net";

/** An address with its prefix length. */
export interface Cidr {
  /** As it was written. */
  text: string;
  /** The address alone, as it was written. */
  host: string;
  version: 4 | 6;
  /** 4 or 16 bytes. */
  bytes: Uint8Array;
  prefix: number;
}

/** Reads `10.0.0.1/24` or `fd00::1/64`; without a prefix length it is the address alone. Throws when it is neither. */
export function parseCidr(text: string): Cidr {
  const [host = "", suffix] = text.split("/");
  const version = isIPv4(host) ? 4 : isIPv6(host) && !host.includes("%") ? 6 : null;
  if (version === null)
    throw new Error(`${text} is not an IP address; write it as 10.0.0.1/24 or fd00::1/64`);
  const bits = version === 4 ? 32 : 128;
  const prefix = suffix === undefined ? bits : /^\d{1,3}$/.test(suffix) ? Number(suffix) : Number.NaN;
  if (!(prefix >= 1 && prefix <= bits))
    throw new Error(`${text}: the prefix length must be between 1 and ${bits}`);
  const bytes = version === 4 ? Uint8Array.from(host.split("."), Number) : bytesOfIpv6(host);
  return { text, host, version, bytes, prefix };
}

/** The 16 bytes of an IPv6 address that is known to be valid. */
function bytesOfIpv6(host: string): Uint8Array {
  const groups = (part: string): number[] =>
    part.split(":").flatMap((group) => {
      if (group === "") return [];
      if (!group.includes(".")) return [Number.parseInt(group, 16)];
      const [a = 0, b = 0, c = 0, d = 0] = group.split(".").map(Number);
      return [(a << 8) | b, (c << 8) | d];
    });
  const [head = "", tail = ""] = host.split("::");
  const [first, last] = [groups(head), groups(tail)];
  const zeros = new Array<number>(8 - first.length - last.length).fill(0);
  return Uint8Array.from([...first, ...zeros, ...last].flatMap((group) => [group >> 8, group & 255]));
}

/** True when both addresses are in one network of `prefix` bits. */
export function sameNetwork(a: Uint8Array, b: Uint8Array, prefix: number): boolean {
  if (a.length !== b.length) return false;
  return a.every((byte, index) => {
    const bits = Math.min(8, Math.max(0, prefix - index * 8));
    return ((byte ^ b[index]!) & ((0xff << (8 - bits)) & 0xff)) === 0;
  });
}

/** True when the bytes are equal. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

/** An address as people write it; IPv6 without its shortest form. */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  return Array.from({ length: 8 }, (_, at) => ((bytes[2 * at]! << 8) | bytes[2 * at + 1]!).toString(16)).join(
    ":",
  );
}

/** What `macText` writes. */
export const MAC_TEXT = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;

/** A MAC address for people. */
export function macText(mac: Uint8Array): string {
  return [...mac].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

/** The 6 bytes of a MAC address as `macText` writes it. */
export function parseMac(text: string): Uint8Array {
  return Uint8Array.from(text.split(":"), (byte) => Number.parseInt(byte, 16));
}
