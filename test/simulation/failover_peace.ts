/** The second phase of a seed: faults stop, and a stable, equal, serving cluster must be reached within a bound. */
import type { SimNode } from "./failover_node.ts";
import type { World } from "./failover_world.ts";

/** How long both nodes may take to become PRIM and SECOND, ms: an administrator looks every 2.5 s. */
const BOUND = 60_000;
/** How long an application that serves may take for its next write, ms. */
const NEXT_WRITE = 6000;
/** How often the copies are compared, ms: often falls between two writes. */
const LOOK = 70;

/** Faults stop, but for a resource that stays down on both nodes; an administrator does what `remedy` says. */
export function peace(world: World, downForAll: string | null = null): string | null {
  const { clock, nodes, network } = world;
  world.tell("peace: no more faults");
  network.heal();
  world.witness.heal();
  for (const node of nodes) {
    node.hooks.failing.clear();
    node.hooks.slowness = 1;
    node.maintain({ on: false, stamp: clock.now });
    node.writesFail = false;
    node.slowness = 1;
    node.disarm();
    node.checks.peace(downForAll);
    clock.after(1000, () => node.boot());
  }
  let round = 0;
  const help = () => {
    if (isSettled(world)) return;
    round++;
    const node = nodes[round % 2 === 0 ? 0 : 1]!;
    const { state, readiness, remedy } = node.describe();
    if (node.up && state === "STOP" && readiness === "NotReady") node.command({ name: "start" }, "admin");
    else if (remedy !== undefined) obey(world, node, remedy);
    clock.after(2500, help);
  };
  clock.after(4000, help);
  const end = clock.now + BOUND;
  let settled = 0;
  while (clock.now < end && settled < 3) {
    clock.runUntil(clock.now + 500);
    settled = isSettled(world) ? settled + 1 : 0;
  }
  if (settled > 0) return serves(world);
  const states = nodes.map((node) => `${node.name} ${JSON.stringify(node.describe())}`).join("; ");
  return `liveness: no PRIM and SECOND, both Ready, ${BOUND / 1000} s after the last fault: ${states}`;
}

/** Settled is not enough: the application writes on, and both copies hold it. */
function serves(world: World): string | null {
  if (!world.isReplicated) return null;
  const { clock, nodes, check } = world;
  const before = check.acknowledged_.length;
  const end = clock.now + NEXT_WRITE;
  const isEqual = () => {
    const [mine, theirs] = nodes.map(({ disk }) => disk.copy);
    return mine!.ops.size === theirs!.ops.size && [...mine!.ops].every((op) => theirs!.ops.has(op));
  };
  while (clock.now < end && (check.acknowledged_.length === before || !isEqual()))
    clock.runUntil(clock.now + LOOK);
  if (check.acknowledged_.length === before)
    return `liveness: PRIM and SECOND, but no write was acknowledged within ${NEXT_WRITE / 1000} s`;
  return clock.now < end ? null : "liveness: PRIM and SECOND, but the copies do not become equal";
}

function obey(world: World, node: SimNode, remedy: string): void {
  const [, verb] = remedy.split(" ");
  const at = remedy.includes("--node") ? node.peer() : node;
  if (verb === "start") at.command({ name: "start" }, "admin, as told");
  if (verb === "prim") {
    // The administrator prefers the node whose remedy needs no force.
    const other = node.peer().describe().remedy;
    if (remedy.includes("--force") && other !== undefined && !other.includes("--force")) return;
    world.check.forced ||= remedy.includes("--force") || !world.isWitnessed;
    at.command({ name: "prim", force: remedy.includes("--force") }, "admin, as told");
  }
  if (verb === "second") at.command({ name: "second", full: remedy.includes("--full") }, "admin, as told");
}

function isSettled(world: World): boolean {
  const [a, b] = world.nodes;
  if (a.isFrozen("daemon") || b.isFrozen("daemon")) return false;
  if (!world.isMirror) return world.nodes.every((node) => node.up && node.describe().state === "UP");
  if (!a.up || !b.up) return false;
  const states = [a.describe(), b.describe()];
  return (
    states.every(({ readiness }) => readiness === "Ready") &&
    states.some(({ state }) => state === "PRIM") &&
    states.some(({ state }) => state === "SECOND")
  );
}
