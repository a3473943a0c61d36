/**
 * The demo's story: a machine dies under a client, comes back, takes its role again, and nothing is missing.
 */
import { durationText, formatSize } from "../../../modules/units.ts";
import type { ModuleState } from "../../failover/types.ts";
import { selfCommand } from "../../platform/self.ts";
import type { Output } from "../output.ts";
import type { Acknowledged } from "./client.ts";
import {
  APPLICATION_PORT,
  buildCluster,
  type DemoCluster,
  type DemoNode,
  startClient,
  VIRTUAL_IP,
} from "./cluster.ts";
import { differences, fingerprint, storedBytes } from "./compare.ts";
import { Display } from "./display.ts";

const LOOK_MS = 50;
const PATIENCE_MS = 30_000;
const CALM_MS = 3000;

/** What was promised to the client, and how long it waited. */
class Ledger {
  readonly rows: number[] = [];
  longest = 0;

  take(row: Acknowledged): void {
    this.rows.push(row.id);
    this.longest = Math.max(this.longest, row.waited);
  }

  /** The longest wait since the last call, ms. */
  takeLongest(): number {
    const longest = this.longest;
    this.longest = 0;
    return longest;
  }
}

/** Plays the story below `base`. Resolves when all of it held; throws, saying what did not, otherwise. */
export async function playStory(base: string, output: Output): Promise<DemoCluster> {
  const display = new Display(output);
  display.chapter("Two nodes, one application");
  const cluster = await buildCluster(base, (text) => display.event(text));
  const { n1, n2 } = cluster;
  const looking = setInterval(() => void look([n1, n2], display), LOOK_MS);
  try {
    await both(n1, "PRIM", n2, "SECOND");
    await tell(cluster, display);
    return cluster;
  } finally {
    clearInterval(looking);
    display.end();
    output.say(`\n${display.timeline()}\n`);
  }
}

async function tell(cluster: DemoCluster, display: Display): Promise<void> {
  const { n1, n2, client } = cluster;
  const ledger = new Ledger();
  const writer = startClient(client, (row) => {
    ledger.take(row);
    display.answered();
  });
  display.event(`a client posts rows to http://${VIRTUAL_IP}:${APPLICATION_PORT}/ without pause`);
  await calm(ledger);

  display.chapter("The machine of the primary loses its power");
  ledger.takeLongest();
  await n1.cutPower();
  display.event("n1: no link, no process left");
  await until("n2 is ALONE", async () => (await stateOf(n2)) === "ALONE");
  await calm(ledger);
  const failover = ledger.takeLongest();
  display.event(
    `the client waited ${durationText(failover)}, heartbeat timeout and the application's start included`,
    { failoverMs: failover },
  );

  display.chapter("The machine comes back");
  await n1.boot();
  n1.startDaemon();
  await both(n2, "PRIM", n1, "SECOND");
  await tellReintegration(n2, display);
  await calm(ledger);
  display.event(`meanwhile the client waited at most ${durationText(ledger.takeLongest())}`);

  display.chapter("Back to the first node");
  await n1.holdfast("swap", "demo");
  await both(n1, "PRIM", n2, "SECOND");
  await calm(ledger);
  const swap = ledger.takeLongest();
  display.event(`swapped; the client waited ${durationText(swap)}`, { swapMs: swap });

  display.chapter("Nothing is missing");
  await client.end(writer);
  await proveRows(cluster, ledger, display);
  await proveEqual(n1, n2, display);
  display.event("all of it held");
}

async function stateOf(node: DemoNode): Promise<ModuleState | null> {
  const status = await node.status();
  return status?.readiness === "Ready" ? status.state : null;
}

async function both(
  prim: DemoNode,
  primState: ModuleState,
  second: DemoNode,
  secondState: ModuleState,
): Promise<void> {
  await until(
    `${prim.name} is ${primState} and ${second.name} is ${secondState}`,
    async () => (await stateOf(prim)) === primState && (await stateOf(second)) === secondState,
  );
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (performance.now() > deadline)
      throw new Error(`waited ${durationText(PATIENCE_MS)} in vain until ${what}`);
    await Bun.sleep(LOOK_MS);
  }
}

/** Lets the client write for a while; that it does is part of what is shown. */
async function calm(ledger: Ledger): Promise<void> {
  const before = ledger.rows.length;
  await until("the client is answered", async () => ledger.rows.length > before);
  await Bun.sleep(CALM_MS);
}

async function look(nodes: readonly DemoNode[], display: Display): Promise<void> {
  for (const node of nodes) {
    const status = await node.status();
    if (!node.machine) display.state(node.name, "off", "");
    else if (status) display.state(node.name, status.state, status.reason);
  }
  display.live();
}

/** What the primary's log says of a reintegration that ended. */
const REINTEGRATION = /^Reintegration ended \((full|incremental)\): (\d+) files, (\d+) bytes/;

/** Bytes moved against bytes stored; only what changed may have moved. */
async function tellReintegration(source: DemoNode, display: Display): Promise<void> {
  const lines = (await source.holdfast("log", "demo", "--json")).trim().split("\n");
  const found = lines
    .map((line) => REINTEGRATION.exec((JSON.parse(line) as { text: string }).text))
    .findLast((match) => match !== null);
  if (!found) throw new Error(`the log of ${source.name} tells of no reintegration`);
  const [, kind, files] = found;
  const moved = Number(found[3]);
  const stored = storedBytes(source.disk);
  if (kind === "full") throw new Error("the reintegration copied everything, not only what changed");
  display.event(
    `reintegrated: moved ${formatSize(moved)} in ${files} files, of ${formatSize(stored)} stored`,
    { moved, stored },
  );
}

/** Every acknowledged row must be in the application, as a client sees it. */
async function proveRows({ client }: DemoCluster, ledger: Ledger, display: Display): Promise<void> {
  // What is acknowledged while the answer is on its way proves nothing.
  const acknowledged = [...ledger.rows];
  const kept = new Set(
    JSON.parse(await client.exec(selfCommand("__demo", "rows", VIRTUAL_IP, APPLICATION_PORT))) as number[],
  );
  const missing = acknowledged.filter((id) => !kept.has(id));
  if (missing.length > 0)
    throw new Error(
      `${missing.length} of ${acknowledged.length} acknowledged rows are missing: ${missing.slice(0, 5).join(", ")}`,
    );
  display.event(`${acknowledged.length} rows were acknowledged, all of them are there`, {
    acknowledged: acknowledged.length,
    missing: 0,
  });
}

async function proveEqual(n1: DemoNode, n2: DemoNode, display: Display): Promise<void> {
  const verified = (await n1.holdfast("verify", "demo")).trim();
  display.event(`holdfast verify: ${verified}`);
  let different: string[] = [];
  await until("both disks hold the same", async () => {
    different = differences(fingerprint(n1.disk), fingerprint(n2.disk));
    return different.length === 0;
  }).catch(() => {
    throw new Error(`the disks of n1 and n2 differ in ${different.slice(0, 5).join(", ")}`);
  });
  display.event(
    `the demo's own comparison of both disks: ${fingerprint(n1.disk).size} files and directories, all equal`,
  );
}
