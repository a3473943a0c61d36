/**
 * How the machine's clock fares, for `holdfast doctor`.
 *
 * Roles go by a clock that nobody sets, and by its rate alone: a time service that hurries it is the one thing that could matter to them. What people
 * read, and the dates in certificates, go by the wall clock.
 */
import { fetchFromNode } from "../api/api.ts";
import { loadCluster } from "../cluster/cluster.ts";
import type { ClockStep } from "../daemon/engine.ts";
import { offsetOf } from "../daemon/explanation.ts";
import { stepText } from "../daemon/wall_clock.ts";
import { type ClockDiscipline, clockDiscipline } from "../platform/linux/libc.ts";
import type { Finding } from "./doctor_finding.ts";
import { fetchDocument, HERE } from "./node.ts";

const what = "clock";
/** As systemd has it: an error that may be larger is of a clock that nothing corrects, ms (ntp_gettime(3): maxerror grows by 0.5 ms a second). */
const SYNCHRONISED_MS = 16_000;
/** Decisions are proven for clocks that go fast or slow by so much. */
const RATE_PPM = 50_000;
/** Two nodes' logs still line up, ms. */
const APART_MS = 1000;
const PEER_TIMEOUT_MS = 2000;
const FOLLOW = "let all nodes follow the same time servers (Debian: apt-get install chrony)";
const STEPS =
  "let the time service do that at boot only (chrony: makestep 1 3), and let no second one, such as the hypervisor's, set it too";

/** What the kernel says of its clock, judged. */
export function judgeClock({ maxErrorMs, isSynchronised, ratePpm }: ClockDiscipline): Finding {
  if (Math.abs(ratePpm) > RATE_PPM)
    return {
      what,
      level: "problem",
      detail: `made to run ${Math.round(Math.abs(ratePpm) / 10_000)} % too ${ratePpm > 0 ? "fast" : "slow"}, to correct it: failovers are safe up to ${RATE_PPM / 10_000} %; let the time service correct it more slowly (chrony: maxslewrate 20000)`,
    };
  if (isSynchronised && maxErrorMs < SYNCHRONISED_MS) return { what, level: "good", detail: "synchronised" };
  return {
    what,
    level: "warning",
    detail: `not synchronised: logs of two nodes will not line up, certificates may seem not yet valid; ${FOLLOW}`,
  };
}

/** A clock that was set while the daemon ran. */
export function judgeStep(step: ClockStep | null): Finding[] {
  if (step === null) return [];
  return [
    {
      what,
      level: "warning",
      detail: `set ${stepText(step.byMs)} at ${step.at}, while the daemon ran: times in the logs jump there; ${STEPS}`,
    },
  ];
}

/** How far another node's clock is from this one's. */
export function judgeOffset(
  node: string,
  { aheadMs, uncertainMs }: { aheadMs: number; uncertainMs: number },
): Finding[] {
  if (Math.abs(aheadMs) - uncertainMs < APART_MS) return [];
  const apart = `${(Math.abs(aheadMs) / 1000).toFixed(1)} s ${aheadMs > 0 ? "ahead of" : "behind"} this one's`;
  return [{ what, level: "warning", detail: `${node}'s is ${apart}: their logs do not line up; ${FOLLOW}` }];
}

/** This node's clock, and the others' beside it. */
export async function clocks(varDir: string): Promise<Finding[]> {
  const found = [judgeClock(clockDiscipline())];
  const cluster = loadCluster(varDir);
  if (!cluster) return found;
  const own = (await fetchDocument({ varDir, target: HERE }, "/clock").catch(() => null)) as {
    set?: ClockStep | null;
  } | null;
  found.push(...judgeStep(own?.set ?? null));
  const others = await Promise.all(
    cluster.peers.map(async ({ name }) => {
      const ask = () => fetchFromNode(cluster, name, "/clock", { timeoutMs: PEER_TIMEOUT_MS });
      const offset = await offsetOf(ask);
      return offset === null ? [] : judgeOffset(name, offset);
    }),
  );
  return [...found, ...others.flat()];
}
