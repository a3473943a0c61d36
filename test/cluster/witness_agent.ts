/**
 * Asks a witness from inside a machine of the testbed, as a daemon there would: `bun witness_agent.ts SOCKET`.
 *
 * Leases are told in ms of the clock that all machines of the testbed share, so that those of two nodes can be compared.
 */
import { loadCluster } from "../../core/cluster/cluster.ts";
import { sharedClock } from "../../core/platform/shared_clock.ts";
import type { WitnessConfig } from "../../core/witness/config.ts";
import { openWitness, type WitnessAsker } from "../../core/witness/open.ts";
import type { Witness } from "../../core/witness/witness.ts";

/** What the agent is asked. */
export type Order =
  /** `varDir`: as the member whose state lies there; else as `node` of a cluster that has no other identity. */
  | {
      do: "open";
      config: WitnessConfig;
      node: string;
      cluster?: string;
      varDir?: string;
      secrets?: Record<string, string>;
      deadlineMs: number;
    }
  | { do: "renew"; module: string; leaseMs: number }
  | { do: "sole"; module: string; sole: string | null; generation: string; expected: string }
  | { do: "read" | "release"; module: string }
  | { do: "probe" }
  /** Asks for the lease over and over. */
  | { do: "keep"; module: string; leaseMs: number; everyMs: number }
  | { do: "stop" };

/** A lease that was granted, from when it was asked for. */
export interface Held {
  from: number;
  to: number;
}

let witness: Witness | null = null;
let keeping: Promise<void> | null = null;
let goesOn = false;
const held: Held[] = [];

function open({
  config,
  node,
  cluster = "test",
  varDir,
  secrets = {},
  deadlineMs,
}: Extract<Order, { do: "open" }>): string {
  const member = varDir === undefined ? null : loadCluster(varDir);
  const asker: WitnessAsker = member ?? {
    name: cluster,
    node,
    fingerprint: "0123456789abcdef",
    heartbeat: { timeoutMs: 1000 },
    credentials: { certificate: "", key: "" },
  };
  witness?.close();
  witness = openWitness(config, asker, { secret: (key) => secrets[key] ?? null, deadlineMs });
  return witness.name;
}

async function keep(module: string, leaseMs: number, everyMs: number): Promise<void> {
  while (goesOn && witness?.records) {
    const answer = await witness.renew(module, leaseMs);
    if (answer.kind === "granted") held.push({ from: answer.sentAt, to: answer.sentAt + leaseMs });
    await Bun.sleep(everyMs);
  }
}

async function obey(order: Order): Promise<unknown> {
  if (order.do === "open") return open(order);
  if (!witness) throw new Error("open it first");
  if (order.do === "probe") return await witness.probe();
  if (!witness.records) throw new Error("it records nothing");
  switch (order.do) {
    case "renew":
      return await witness.renew(order.module, order.leaseMs);
    case "sole":
      return await witness.recordSole(order.module, order.sole, order.generation, order.expected);
    case "read":
      return await witness.read(order.module);
    case "release":
      return await witness.release(order.module);
    case "keep":
      goesOn = true;
      keeping = keep(order.module, order.leaseMs, order.everyMs);
      return null;
    case "stop":
      goesOn = false;
      await keeping;
      return held.splice(0);
  }
}

Bun.serve({
  unix: process.argv[2]!,
  async fetch(request) {
    const asked = sharedClock();
    try {
      return Response.json({
        result: (await obey((await request.json()) as Order)) ?? null,
        ms: sharedClock() - asked,
      });
    } catch (error) {
      return Response.json({ error: (error as Error).message, ms: sharedClock() - asked });
    }
  },
});
