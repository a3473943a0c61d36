/** Nodes that ask a witness, without daemons: agents on the machines of a testbed, and what must hold of the leases that they were granted. */
import type { Test as Tap } from "tap";
import { type MachineProcess, type Node, type Testbed, until } from "./testbed.ts";
import type { Held, Order } from "./witness_agent.ts";

/** The lease that is asked for, ms. */
export const LEASE = 600;
/** What is asked for a module `db`: its lease, its record, and that the record names this node as the sole one. */
export const renew = { do: "renew", module: "db", leaseMs: LEASE } as const satisfies Order;
export const read = { do: "read", module: "db" } as const satisfies Order;
export const sole = (who: string, expected: string) =>
  ({ do: "sole", module: "db", sole: who, generation: `of-${who}`, expected }) as const satisfies Order;

/** An agent on one node. */
export class WitnessAgent {
  private constructor(
    readonly node: Node,
    readonly process: MachineProcess,
    private readonly socket: string,
  ) {}

  /** Starts one. */
  static async start(bed: Testbed, node: Node): Promise<WitnessAgent> {
    const socket = `${bed.dir}/${node.name}-witness-${crypto.randomUUID().slice(0, 8)}.sock`;
    const script = `${import.meta.dir}/witness_agent.ts`;
    const agent = new WitnessAgent(
      node,
      await node.spawn([process.execPath, script, socket], { log: node.daemonLog }),
      socket,
    );
    await until("the agent listens", () =>
      agent.#send({ do: "probe" }).then(
        () => true,
        () => false,
      ),
    );
    return agent;
  }

  async #send(order: Order): Promise<{ result?: unknown; error?: string; ms: number }> {
    const response = await fetch("http://agent/", {
      unix: this.socket,
      method: "POST",
      body: JSON.stringify(order),
    });
    return (await response.json()) as { result?: unknown; error?: string; ms: number };
  }

  /** The answer. Throws when the agent could not ask. */
  async ask<T = { kind: string; record?: { version: string } }>(order: Order): Promise<T> {
    const { result, error } = await this.#send(order);
    if (error !== undefined) throw new Error(error);
    return result as T;
  }

  /** Asks until the answer is of this kind. */
  async until(kind: string, order: Order): Promise<{ kind: string; record: { version: string } }> {
    return await until(`${this.node.name}: ${order.do} is ${kind}`, async () => {
      const answer = await this.ask<{ kind: string; record: { version: string } }>(order);
      return answer.kind === kind ? answer : null;
    });
  }

  /** Ends `keep`. */
  async leases(): Promise<Held[]> {
    return await this.ask<Held[]>({ do: "stop" });
  }
}

/** Two nodes ask all the time, while `work` is done: no two leases may overlap, and leases must have been granted. */
export async function contend(
  t: Tap,
  agents: readonly [WitnessAgent, WitnessAgent],
  what: string,
  work: () => Promise<void>,
): Promise<void> {
  for (const agent of agents) await agent.ask({ do: "keep", module: "db", leaseMs: LEASE, everyMs: 100 });
  await work();
  const [first, second] = await Promise.all([agents[0].leases(), agents[1].leases()]);
  t.same(overlaps(first, second), [], `${what}: never two leases at once`);
  t.ok(first.length + second.length > 0, `${what}: ${first.length} leases for n1, ${second.length} for n2`);
}

/** Leases of two nodes that were in force at the same time. */
function overlaps(first: readonly Held[], second: readonly Held[]): string[] {
  return first.flatMap((one) =>
    second
      .filter((other) => one.from < other.to && other.from < one.to)
      .map((other) => `${one.from}..${one.to} and ${other.from}..${other.to}`),
  );
}
