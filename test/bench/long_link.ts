/**
 * A mirror's replication link through a relay that adds a delay: the kernel's own (netem) is not everywhere, and would not say what it costs.
 *
 * SECOND dials PRIM; what it dials is turned to the relay beside it, and what the relay dials is turned to the real port on PRIM. The nodes know nothing of it.
 */
import type { Mirror } from "../cluster/mirror.ts";
import { until } from "../cluster/testbed.ts";

/** The replication port of the cluster's first module. */
const REPLICATION = 9455;
/** Where the relay reaches it. */
const BEHIND = 9801;
const CONTROL = 9800;
const RELAY = 9802;
/** A message and its answer take the same way. */
const ANSWERS = 9803;
const RELAY_TO_ANSWERS = 9804;
/** So does the least mirror. */
const LEADER = 9805;
const RELAY_TO_LEADER = 9806;

/** The link while it is long. It lives as long as the nodes. */
export interface LongLink {
  /** Adds this to a round trip from now on, microseconds. */
  setDelay(microseconds: number): Promise<void>;
  /** Median of a round trip, microseconds: `relayed`, with the delay and all that the relay costs; else past it. */
  roundTrip(relayed: boolean, seconds: number): Promise<number>;
  /** Median of a write+fsync of 4 KiB by the least that a mirror can do, between a file of n1 and one of n2, microseconds. */
  leastMirror(relayed: boolean, files: readonly [string, string], seconds: number): Promise<number>;
  /** Whether what n2 dials from now on passes the relay. */
  turn(relayed: boolean): Promise<void>;
  /** Throws when the nodes are not connected in this way. */
  check(relayed: boolean): Promise<void>;
}

const program = (name: string): string => new URL(name, import.meta.url).pathname;

/** Call it before n2 dials n1: before the module's first start. */
export async function lengthenLink({ n1, n2, bed }: Mirror): Promise<LongLink> {
  const nat = (chain: string, rule: string): string =>
    `table ip bench {\n chain turn {\n type nat hook ${chain} priority -100\n ${rule}\n }\n}\n`;
  const addresses = Object.values(n1.addresses).join(", ");
  await n1.exec(["nft", "-f", "-"], {
    input: nat("prerouting", `tcp dport ${BEHIND} redirect to :${REPLICATION}`),
  });
  const turned = nat("output", `ip daddr { ${addresses} } tcp dport ${REPLICATION} redirect to :${RELAY}`);
  const bun = process.execPath;
  const target = n1.addresses["repl"]!;
  const ways = [
    `${RELAY}=${target}:${BEHIND}`,
    `${RELAY_TO_ANSWERS}=${target}:${ANSWERS}`,
    `${RELAY_TO_LEADER}=${target}:${LEADER}`,
  ];
  const log = `${bed.dir}/relay.log`;
  await n2.spawn([bun, program("relay.ts"), `${CONTROL}`, ...ways], { log });
  await n1.spawn([bun, program("round_trip.ts"), "answer", `${ANSWERS}`], { log });
  const ask = async (address: string, port: number, seconds: number): Promise<number> =>
    Number((await n2.exec([bun, program("round_trip.ts"), "ask", address, `${port}`, `${seconds}`])).stdout);
  const order = `for i in {1..50}; do exec 3<>/dev/tcp/127.0.0.1/${CONTROL} && break; sleep 0.1; done 2>/dev/null; echo "$1" >&3; read -r said <&3; [ "$said" = ok ]`;
  const link: LongLink = {
    setDelay: async (microseconds) => {
      await n2.exec(["bash", "-c", order, "order", `${microseconds}`]);
    },
    roundTrip: (relayed, seconds) =>
      relayed ? ask("127.0.0.1", RELAY_TO_ANSWERS, seconds) : ask(target, ANSWERS, seconds),
    leastMirror: async (relayed, [leads, follows], seconds) => {
      const leader = n1.exec([bun, program("least_mirror.ts"), "lead", `${LEADER}`, leads, `${seconds}`]);
      const listens = `sport = :${LEADER}`;
      await until("the leader listens", async () => (await n1.exec(["ss", "-Hltn", listens])).stdout !== "");
      const [address, port] = relayed ? ["127.0.0.1", RELAY_TO_LEADER] : [target, LEADER];
      await n2.exec([bun, program("least_mirror.ts"), "follow", address, `${port}`, follows]);
      return Number((await leader).stdout);
    },
    turn: async (relayed) => {
      const input = `table ip bench {}\ndelete table ip bench\n${relayed ? turned : ""}`;
      await n2.exec(["nft", "-f", "-"], { input });
    },
    check: async (relayed) => {
      const { stdout } = await n2.exec(["ss", "-Htn", "state", "established", `sport = :${RELAY}`]);
      if ((stdout.trim() !== "") !== relayed)
        throw new Error(`the nodes replicate ${relayed ? "past" : "through"} the relay`);
    },
  };
  await link.turn(true);
  await link.setDelay(0);
  return link;
}
