/** A seed's story: first start, a stretch of faults and commands, then peace, in which everything must come right. */
import type { Command, FailoverConfig } from "../../core/failover/types.ts";
import { Violation } from "./failover_check.ts";
import { Chance } from "./failover_clock.ts";
import { LANS } from "./failover_network.ts";
import type { SimNode } from "./failover_node.ts";
import { type Settings, World } from "./failover_world.ts";

/** What may happen in a schedule. */
export type Profile = "crashes" | "networks" | "failures" | "everything";

/** How a schedule ended. */
export interface Outcome {
  seed: number;
  profile: Profile;
  /** Null when every guarantee held and peace brought PRIM and SECOND. */
  violation: string | null;
  story: readonly string[];
  acknowledged: number;
  served: number;
}

const PROFILES: readonly Profile[] = ["crashes", "networks", "failures", "everything"];
const FAULTS_END = 16_000;
const PEACE = 60_000;

/** Runs one seed to its end. */
export function runSchedule(settings: Settings): Outcome {
  const shape = new Chance(settings.seed * 7 + 1);
  const profile = PROFILES[settings.seed % PROFILES.length]!;
  const config: Partial<FailoverConfig> = {
    failover: shape.is(0.1) ? "manual" : "automatic",
    failback: shape.is(0.2) ? shape.pick(["n1", "n2"]) : null,
    onIsolation: shape.is(0.2) ? "wait" : "continue",
    ...settings.config,
  };
  const world = new World({ ...settings, config });
  world.check.torn = profile === "networks" || profile === "everything";
  world.tell(`seed ${settings.seed}: ${profile}, ${JSON.stringify(config)}`);
  let violation: string | null = null;
  try {
    live(world, profile);
    violation = peace(world);
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    violation = error.message;
  }
  if (violation !== null) world.tell(`BROKEN: ${violation}`);
  return {
    seed: settings.seed,
    profile,
    violation,
    story: world.story,
    acknowledged: world.check.acknowledged_.length,
    served: world.check.served,
  };
}

function live(world: World, profile: Profile): void {
  const { clock, chance, nodes } = world;
  if (profile !== "crashes") {
    world.network.loss = chance.is(0.5) ? chance.between(0, 0.3) : 0;
    world.network.repeat = chance.is(0.3) ? 0.1 : 0;
    world.network.straggler = chance.is(0.3) ? 0.05 : 0;
  }
  for (const node of nodes) clock.at(chance.between(0, 500), () => node.boot());
  for (const node of nodes)
    clock.at(600 + chance.between(0, 800), () => node.command({ name: "start" }, "admin"));
  clock.at(2600, () => nodes[0].command({ name: "prim", force: false }, "admin"));
  let lastAt = 3000;
  const faults = 2 + Math.floor(chance.next() * 9);
  for (let index = 0; index < faults; index++) {
    // Faults come in bursts: the second strikes while the first is being dealt with.
    const at =
      index % 2 === 0 || !chance.is(0.6)
        ? chance.between(3000, FAULTS_END)
        : lastAt + chance.between(0, 1500);
    lastAt = at;
    clock.at(at, () => fate(world, profile));
  }
  clock.runUntil(FAULTS_END);
}

function fate(world: World, profile: Profile): void {
  const { chance, nodes } = world;
  const node = chance.pick(nodes);
  const any = profile === "everything";
  const roll = chance.next();
  if (roll < 0.3) crash(world, node);
  else if (roll < 0.55) node.command(randomCommand(world, any), "admin", chance.is(0.15) ? "rule" : "human");
  else if (profile === "networks" || (any && roll < 0.8)) tear(world, node);
  else if (profile === "failures" || any) fail(world, node);
  else if (roll < 0.75) node.killDaemon();
  else crash(world, node);
}

function crash(world: World, node: SimNode): void {
  const { chance, clock } = world;
  node.crash();
  clock.after(chance.between(200, 6000), () => node.boot());
  if (!chance.is(0.2)) return;
  const other = node.peer();
  clock.after(chance.between(0, 300), () => other.crash());
  clock.after(chance.between(400, 6000), () => other.boot());
}

function randomCommand(world: World, any: boolean): Command {
  const { chance } = world;
  const roll = chance.next();
  if (roll < 0.3) return { name: "swap" };
  if (roll < 0.45) return { name: "stop" };
  if (roll < 0.65) return { name: "start" };
  if (roll < 0.73) return { name: "restart" };
  if (roll < 0.82) return { name: "stopstart" };
  if (roll < 0.87) return { name: "forcestop" };
  if (roll < 0.93 || !any) return { name: "second", full: chance.is(0.3) };
  return { name: "prim", force: chance.is(0.5) };
}

function tear(world: World, node: SimNode): void {
  const { chance, clock } = world;
  const lasts = chance.between(100, 5000);
  const roll = chance.next();
  if (roll < 0.25) node.stun(chance.between(100, 4000));
  else if (roll < 0.45) node.stopDaemon(chance.between(100, 3000));
  else if (roll < 0.65) cut(world, LANS, [0, 1], lasts);
  else if (roll < 0.8) cut(world, LANS, [node.index], lasts);
  else if (roll < 0.9) cut(world, [chance.pick(LANS)], [0, 1], lasts);
  else if (roll < 0.95) cut(world, [chance.pick(LANS)], [node.index], lasts);
  else
    for (let times = 0; times < 6; times++)
      clock.after(times * 700, () => cut(world, LANS, [0, 1], chance.between(100, 600)));
}

function cut(
  world: World,
  lans: readonly ("lan" | "repl")[],
  directions: readonly number[],
  ms: number,
): void {
  world.tell(
    `the network is cut: ${lans.join(", ")} from ${directions.map((index) => world.nodes[index]!.name).join(" and ")}`,
  );
  for (const lan of lans) for (const from of directions) world.network.set(lan, from, true);
  world.clock.after(ms, () => {
    world.tell(`the network is healed: ${lans.join(", ")}`);
    for (const lan of lans) for (const from of directions) world.network.set(lan, from, false);
  });
}

function fail(world: World, node: SimNode): void {
  const { chance, clock } = world;
  const roll = chance.next();
  if (roll < 0.4) {
    const hook = chance.pick([
      "start_prim",
      "stop_prim",
      "start_second",
      "stop_second",
      "prestart",
      "start_both",
    ]);
    world.tell(`${hook} fails on ${node.name} for a while`);
    node.failing.add(hook);
    clock.after(chance.between(500, 4000), () => node.failing.delete(hook));
  } else if (roll < 0.6) {
    if (!node.up) return;
    world.tell(`the replication process of ${node.name} dies`);
    const died = node.data.role !== "idle";
    node.data.reset();
    node.application = false;
    if (died) node.report({ kind: "died", detail: "killed by signal 9" });
  } else if (roll < 0.8) {
    if (!node.up || node.data.role === "idle") return;
    world.tell(`the disk of ${node.name} fails once`);
    node.disk.copy.touched = true;
    node.report({ kind: "diskFailed", detail: "fsync: input/output error" });
  } else {
    world.tell(`the record cannot be written on ${node.name} for a while`);
    node.writesFail = true;
    clock.after(chance.between(200, 2000), () => {
      node.writesFail = false;
    });
  }
}

/** Faults stop; an administrator does what `remedy` says. */
function peace(world: World): string | null {
  const { clock, nodes, network } = world;
  world.tell("peace: no more faults");
  network.heal();
  for (const node of nodes) {
    node.failing.clear();
    node.writesFail = false;
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
  const end = clock.now + PEACE;
  let settled = 0;
  while (clock.now < end && settled < 3) {
    clock.runUntil(clock.now + 500);
    settled = isSettled(world) ? settled + 1 : 0;
  }
  if (settled > 0) return null;
  const states = nodes.map((node) => `${node.name} ${JSON.stringify(node.describe())}`).join("; ");
  return `liveness: no PRIM and SECOND, both Ready, ${PEACE / 1000} s after the last fault: ${states}`;
}

function obey(world: World, node: SimNode, remedy: string): void {
  const [, verb] = remedy.split(" ");
  const at = remedy.includes("--node") ? node.peer() : node;
  if (verb === "start") at.command({ name: "start" }, "admin, as told");
  if (verb === "prim") {
    // The administrator prefers the node whose remedy needs no force.
    const other = node.peer().describe().remedy;
    if (remedy.includes("--force") && other !== undefined && !other.includes("--force")) return;
    world.check.forced = true;
    at.command({ name: "prim", force: remedy.includes("--force") }, "admin, as told");
  }
  if (verb === "second") at.command({ name: "second", full: remedy.includes("--full") }, "admin, as told");
}

function isSettled(world: World): boolean {
  const [a, b] = world.nodes;
  if (!a.up || !b.up) return false;
  const states = [a.describe(), b.describe()];
  return (
    states.every(({ readiness }) => readiness === "Ready") &&
    states.some(({ state }) => state === "PRIM") &&
    states.some(({ state }) => state === "SECOND")
  );
}
