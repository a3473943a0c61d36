/**
 * The program nft(8), for rules that are too rich for our own netlink: one transaction a call.
 */
import { type Netlink, number32 } from "../platform/linux/netlink.ts";
import {
  type Counter,
  countersIn,
  FAMILY_NETDEV,
  hasChain,
  openNftables,
  Transaction,
} from "../platform/linux/nftables.ts";

/** Where the program is looked for, whatever the environment says. */
export const NFT_PATHS = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin";
const MISSING =
  "the program nft is not installed: a farm's own virtual IP needs it (Debian: apt-get install nftables)";
const LONGEST_REASON = 400;

/** How long after a change the next program is started, ms: what depends on the change goes first. */
const SPARE_AFTER_MS = 500;

function start() {
  const found = Bun.which("nft", { PATH: NFT_PATHS });
  if (found === null) throw new Error(MISSING);
  return Bun.spawn([found, "-f", "-"], {
    stdin: "pipe",
    stdout: "ignore",
    stderr: "pipe",
    env: { LC_ALL: "C" },
  });
}

/**
 * Started, and waiting for its text: on a busy machine its start takes as long as all the rest, and clients of a node that died wait for it. It ends by
 * itself when this process does.
 */
let spare: ReturnType<typeof start> | null = null;

function keepSpare(): void {
  setTimeout(() => {
    try {
      spare ??= start();
      spare.unref();
    } catch {
      // The next change says that there is no nft any more.
    }
  }, SPARE_AFTER_MS).unref();
}

/** Has the kernel carry out `text`, all of it or nothing. Throws with what nft said, or when there is no nft. */
export async function changeRules(text: string): Promise<void> {
  const child = spare?.exitCode === null && spare.signalCode === null ? spare : start();
  spare = null;
  try {
    child.stdin.write(text);
    const [said, status] = await Promise.all([
      new Response(child.stderr).text(),
      child.exited,
      child.stdin.end(),
    ]);
    if (status !== 0)
      throw new Error(`nft refused the farm's rules: ${said.slice(0, LONGEST_REASON).trim()}`);
  } finally {
    keepSpare();
  }
}

/** As `changeRules`, before it returns. Without the program there are no rules of ours: nothing to do. */
export function changeRulesNow(text: string): void {
  const found = Bun.which("nft", { PATH: NFT_PATHS });
  if (found === null) return;
  const { exitCode, stderr } = Bun.spawnSync([found, "-f", "-"], {
    stdin: new TextEncoder().encode(text),
    stdout: "ignore",
    stderr: "pipe",
    env: { LC_ALL: "C" },
  });
  if (exitCode !== 0) throw new Error(`nft refused: ${stderr.toString().slice(0, LONGEST_REASON).trim()}`);
}

let netlink: Netlink | null = null;

/** Elements of a set of marks, or of a map of marks to chains, that go and come. */
export interface MarkChange {
  set: string;
  gone: readonly number[];
  come: readonly { mark: number; chain?: string }[];
}

/** Changes sets of marks, all of them or none, in the time of a system call. Throws when the kernel has not what it was given. */
export function changeMarks(table: string, changes: readonly MarkChange[]): void {
  netlink ??= openNftables();
  const transaction = new Transaction(netlink);
  for (const { set, gone, come } of changes) {
    const keyed = come.map(({ mark, ...goTo }) => ({ key: number32(mark), ...goTo }));
    if (gone.length > 0) transaction.deleteElements(FAMILY_NETDEV, table, set, gone.map(number32));
    if (come.length > 0) transaction.lastingElements(FAMILY_NETDEV, table, set, keyed);
  }
  transaction.commit(`cannot change the sets of ${table}`);
}

/** Is a chain of ours at an interface's ingress still there? A firewall that is loaded anew, or an interface that is made anew, takes it along. Throws. */
export function hasIngressChain(table: string, chain: string): boolean {
  netlink ??= openNftables();
  return hasChain(netlink, FAMILY_NETDEV, table, chain);
}

/** The named counters of a table; none where there is no such table. nft(8) would read every flow that the table knows first: seconds. Throws. */
export function countersOf(table: string): Record<string, Counter> {
  netlink ??= openNftables();
  return countersIn(netlink, FAMILY_NETDEV, table);
}
