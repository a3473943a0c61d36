/**
 * Whether the kernel's packet filter can do what addresses need, for `holdfast doctor`: tried in a network of its own, so nothing of the machine's is
 * touched.
 */
import { rulesetOf } from "../farm/ruleset.ts";
import { NFT_PATHS } from "../network/nft.ts";
import { FAMILY_INET, hasChain, openNftables } from "../platform/linux/nftables.ts";
import type { Finding } from "./doctor_finding.ts";

const LONGEST_REASON = 200;

/** What every virtual IP has, so that it falls silent by itself when the node hangs. */
export function addresses(): Finding {
  const what = "addresses";
  try {
    hasChain(openNftables(), FAMILY_INET, "holdfast", "none");
    return {
      what,
      level: "good",
      detail: "the kernel has nf_tables: those of a node that hangs fall silent",
    };
  } catch (error) {
    // Whoever may not look must not be told that there is nothing.
    if (process.getuid?.() !== 0)
      return { what, level: "warning", detail: "only root may ask the kernel for nf_tables: use sudo" };
    return {
      what,
      level: "warning",
      detail: `this kernel lacks nf_tables (${(error as Error).message}): a node that hangs goes on answering for its virtual IPs; modprobe nf_tables`,
    };
  }
}

/** The whole filter of a farm with one peer, on the loopback interface. */
const TRIAL = rulesetOf(
  {
    table: "holdfast_doctor_farm",
    device: "lo",
    mac: "02:00:00:00:00:01",
    addresses: [
      { host: "192.0.2.1", version: 4, own: "192.0.2.2", answers: false },
      { host: "2001:db8::1", version: 6, own: "2001:db8::2", answers: false },
    ],
    rules: [
      { protocol: "tcp", ports: [80, "8000-8010"], affinity: "client-ip" },
      { protocol: "udp", ports: [53], affinity: "connection" },
    ],
    seed: 1,
    me: 0,
    serves: true,
    doubtMs: 500,
    nodes: 2,
    peers: [{ number: 1, mac: "02:00:00:00:00:02" }],
    absent: [],
    owners: [0, 1],
    former: new Map([[0, { number: 1, udp: true }]]),
  },
  true,
);

/** What a farm's own virtual IP has. `paths` is where programs are looked for. */
export function farm(paths = NFT_PATHS): Finding {
  const what = "farm";
  const only = "only a farm with a virtual IP of its own needs it";
  const nft = Bun.which("nft", { PATH: paths });
  if (nft === null)
    return {
      what,
      level: "warning",
      detail: `there is no program nft, and ${only}: apt-get install nftables`,
    };
  const user = process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"];
  const { exitCode, stderr } = Bun.spawnSync(["unshare", ...user, "--net", nft, "-f", "-"], {
    stdin: new TextEncoder().encode(TRIAL),
    stdout: "ignore",
    stderr: "pipe",
    env: { LC_ALL: "C", PATH: NFT_PATHS },
  });
  if (exitCode === 0)
    return { what, level: "good", detail: `${versionOf(nft)} and this kernel take the filter of a farm` };
  const [said = ""] = stderr.toString().split("\n");
  return {
    what,
    level: "warning",
    detail: `${versionOf(nft)} and this kernel do not take the filter of a farm (${said.slice(0, LONGEST_REASON).trim()}), and ${only}: nft 1.0.6 or later, and a kernel with nf_tables for netdev (its ingress hook, fwd, dup), arp, ip6, and hash (Debian: apt-get install linux-image-amd64)`,
  };
}

function versionOf(nft: string): string {
  const { stdout } = Bun.spawnSync([nft, "--version"], { stderr: "ignore", env: { LC_ALL: "C" } });
  return /nftables v\S+/.exec(stdout.toString())?.[0]?.replace("nftables v", "nft ") ?? "nft";
}
