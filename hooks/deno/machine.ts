/** What `Deno` says about the machine. */
import { readFileSync } from "node:fs";
import * as os from "node:os";
import { bare } from "./file_info.ts";

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "x86_64", arm64: "aarch64" };

/** `Deno.build`: of the machine that this runs on, in Deno's words. */
export function build(): object {
  const arch = ARCHITECTURES[process.arch] ?? process.arch;
  const windows = process.platform === "win32";
  const [vendor, abi] = windows ? ["pc", "msvc"] : ["unknown", "gnu"];
  const system = windows ? "windows" : process.platform;
  const target = `${arch}-${vendor}-${system}-${abi}`;
  return Object.freeze({ target, arch, os: system, vendor, env: abi, standalone: false });
}

/** `Deno.memoryUsage`, in bytes. */
export function memoryUsage(): object {
  const { rss, heapTotal, heapUsed, external } = process.memoryUsage();
  return { rss, heapTotal, heapUsed, external };
}

/** `Deno.systemMemoryInfo`, in bytes. */
export function systemMemoryInfo(): object {
  const text = readFileSync("/proc/meminfo", "utf8");
  const bytes = (name: string): number =>
    Number(new RegExp(`^${name}: *(\\d+)`, "m").exec(text)?.[1] ?? 0) * 1024;
  return {
    total: bytes("MemTotal"),
    free: bytes("MemFree"),
    available: bytes("MemAvailable"),
    buffers: bytes("Buffers"),
    cached: bytes("Cached"),
    swapTotal: bytes("SwapTotal"),
    swapFree: bytes("SwapFree"),
  };
}

/** `Deno.cpuUsage` of this process, in microseconds. */
export function cpuUsage(): object {
  const { system, user } = process.cpuUsage();
  return { system, user };
}

/** `Deno.networkInterfaces`: one entry an address, IPv4 first. */
export function networkInterfaces(): object[] {
  const all = Object.entries(os.networkInterfaces()).flatMap(([name, addresses]) =>
    (addresses ?? []).map(({ family, address, netmask, scopeid, cidr, mac }) =>
      bare({ family, name, address, netmask, scopeid: family === "IPv6" ? (scopeid ?? 0) : null, cidr, mac }),
    ),
  );
  return [...all.filter(({ family }) => family === "IPv4"), ...all.filter(({ family }) => family === "IPv6")];
}
