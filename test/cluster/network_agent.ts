/**
 * Runs the real network code inside a machine of the testbed, told what to do over a Unix socket: `bun network_agent.ts SOCKET LANS`.
 */
import { Lease } from "../../core/daemon/module/lease.ts";
import { Deadline } from "../../core/network/deadline.ts";
import { openNetwork, type ProbeOptions } from "../../core/network/virtual_ip.ts";

/** What the agent is asked. */
export type Order =
  /** `goodForMs`: how long the right to the address lasts. */
  | { do: "up"; address: string; interface?: string; options?: ProbeOptions; goodForMs?: number }
  | { do: "down"; address: string }
  | { do: "cleanup"; addresses: string[] }
  | { do: "announce" | "check" | "stopRefreshing" | "silence" }
  /** Installs a deadline and keeps refreshing it. */
  | { do: "deadline"; module: string; addresses: string[]; everyMs: number; timeoutMs: number };

const [socket, lans] = process.argv.slice(2) as [string, string];
const network = openNetwork(JSON.parse(lans) as Record<string, string>);
let deadline: Deadline | null = null;
let refreshing: ReturnType<typeof setInterval> | undefined;

async function obey(order: Order): Promise<unknown> {
  switch (order.do) {
    case "up": {
      const { goodForMs = Number.POSITIVE_INFINITY } = order;
      const asked = performance.now();
      const isGood = (): boolean => performance.now() - asked <= goodForMs;
      return await network.up(order, { ...order.options, mayTake: isGood, maySpeak: isGood });
    }
    case "down":
      return network.down(order.address);
    case "cleanup":
      return network.cleanup(order.addresses);
    case "announce":
      return network.announce();
    case "check":
      return await network.check();
    case "silence":
      return deadline?.silence();
    case "stopRefreshing":
      return clearInterval(refreshing);
    case "deadline": {
      const devices = (): string[] => [
        ...new Set(order.addresses.map((address) => network.linkOf({ address }).name)),
      ];
      const made = new Deadline(order.module, order.addresses, devices);
      deadline = made;
      const missing = made.install(order.timeoutMs);
      const lease = new Lease(() => order.timeoutMs);
      lease.grant();
      clearInterval(refreshing);
      // As though it had asked itself whether it may just before it was stopped.
      refreshing = setInterval(() => {
        made.refresh(order.timeoutMs, () => lease.isHeld);
        lease.renew();
      }, order.everyMs);
      return missing;
    }
  }
}

Bun.serve({
  unix: socket,
  async fetch(request) {
    const started = performance.now();
    try {
      const result = await obey((await request.json()) as Order);
      return Response.json({ result: result ?? null, ms: performance.now() - started });
    } catch (error) {
      return Response.json({ error: (error as Error).message, ms: performance.now() - started });
    }
  },
});
