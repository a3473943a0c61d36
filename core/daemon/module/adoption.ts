/**
 * A daemon that comes back adopts what its guardian kept running meanwhile, when all of it is still as it was.
 *
 * If the replication process died together with the daemon, its successor takes over the live mounts, without a peer.
 */
import type { ControlMessage } from "../../filesystem/control.ts";
import type { Welcome } from "../guardian/link.ts";
import type { ReplicationLink } from "../replication/link.ts";
import { type Replacement, takeOver } from "../replication/replacement.ts";

/** How long a replication process that runs may take to find a new daemon, ms. */
const READOPTION_MS = 1500;

/** What goes on. */
export interface Adopted {
  state: "ALONE" | "PRIM" | "SECOND" | "UP";
  inSync: boolean;
  /** Until when it may go on without another word (`performance.now()`); absent: there was no end to it. */
  until?: number;
}

/** Null: nothing can be adopted. `tookOver`: another process serves the mounts than the one that was left. */
export async function adopt(
  welcome: Welcome,
  replicates: boolean,
  parts: Replacement,
  warn: (text: string) => void,
): Promise<(Adopted & { tookOver: boolean }) | null> {
  const { module, link, configure } = parts;
  const state = welcome.settled[module];
  if (state !== "ALONE" && state !== "PRIM" && state !== "SECOND" && state !== "UP") return null;
  if (!replicates) return { state, inSync: false, tookOver: false };
  if (!welcome.running.includes(module)) return null;
  const hello = await helloOf(link);
  if (hello?.canAdopt === true && state !== "SECOND") {
    const problem = await takeOver(parts);
    if (problem === "") return { state, inSync: false, tookOver: true };
    warn(`the live mounts could not be taken over: ${problem}`);
    return null;
  }
  if (!hello || hello.role !== (state === "SECOND" ? "following" : "serving")) return null;
  const configured = await configure();
  return configured.ok ? { state, inSync: hello.inSync, tookOver: false } : null;
}

function helloOf(link: ReplicationLink): Promise<Extract<ControlMessage, { type: "hello" }> | null> {
  if (link.lastHello) return Promise.resolve(link.lastHello);
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(null), READOPTION_MS);
    link.once("hello", (hello) => {
      clearTimeout(timer);
      resolve(hello);
    });
  });
}
