/**
 * A replication process that died under the live mount: its guardian started another, which takes the mount over.
 *
 * The application waits meanwhile, and sees nothing. Nothing that asks for stable storage is acknowledged by the new process before the failover
 * core has seen the stream end: it outdates the peer, goes on alone, and the peer is reintegrated from the activity log.
 */
import type { Generations } from "../../failover/types.ts";
import type { ControlMessage } from "../../filesystem/control.ts";
import type { GuardianLink } from "../guardian/link.ts";
import type { ReplicationAnswer, ReplicationLink } from "./link.ts";

/** How long the next process may take to say hello, ms: then the application is started again, which is what it would have come to. */
const HELLO_MS = 2000;

/** What taking over needs to know. */
export interface Replacement {
  module: string;
  link: ReplicationLink;
  guardian: GuardianLink;
  generations: () => Generations;
  configure: () => Promise<ReplicationAnswer>;
}

/** Waits for the next process and has it take over the live mounts. Returns "" or why that was not possible; never rejects. */
export async function replaceProcess(parts: Replacement): Promise<string> {
  const problem = await nextProcess(parts);
  return problem === "" ? await takeOver(parts) : problem;
}

/** Has the connected process take over the live mounts. Returns "" or why that was not possible. */
export async function takeOver({ link, generations, configure }: Replacement): Promise<string> {
  const configured = await configure();
  if (!configured.ok) return configured.detail;
  const { ok, detail } = await link.requestNow({
    op: "serve",
    alone: false,
    generations: generations(),
    adopt: true,
  });
  return ok ? "" : detail;
}

type Hello = Extract<ControlMessage, { type: "hello" }>;

function nextProcess({ module, link, guardian }: Replacement): Promise<string> {
  return new Promise((resolve) => {
    const settle = (problem: string): void => {
      clearTimeout(timer);
      link.off("hello", onHello);
      guardian.off("exited", onExited);
      resolve(problem);
    };
    const onHello = ({ canAdopt }: Hello): void =>
      settle(canAdopt ? "" : "there is no live mount to take over");
    const onExited = (): void => {
      if (!guardian.runs(module)) settle("it left no live mount, or died too often");
    };
    const timer = setTimeout(() => settle("no other process came in its place"), HELLO_MS);
    guardian.on("exited", onExited);
    // The next process may have been quicker than the news of the end of the former, and so may the news that there is none.
    if (link.lastHello !== null) onHello(link.lastHello);
    else link.on("hello", onHello);
    onExited();
  });
}
