/** A seed's story: first start, a stretch of faults and commands, then peace, in which everything must come right. */
import type { FailoverConfig } from "../../core/failover/types.ts";
import { Violation } from "./failover_check.ts";
import { drawDownForAll, WATCHED_IN_PARTS } from "./failover_checks.ts";
import { Chance } from "./failover_clock.ts";
import {
  drawFaults,
  drawMaintenance,
  drawPowerFaults,
  drawResourceFaults,
  drawWitnessFaults,
  FAULTS_END,
  type Fault,
  PROFILES,
  type Profile,
} from "./failover_faults.ts";
import { peace } from "./failover_peace.ts";
import { strike } from "./failover_strike.ts";
import { type Settings, World } from "./failover_world.ts";
import { shrink } from "./shrink.ts";

/** How a schedule ended. */
export interface Outcome {
  seed: number;
  profile: Profile;
  faults: readonly Fault[];
  /** Null when every guarantee held and peace brought PRIM and SECOND. */
  violation: string | null;
  story: readonly string[];
  acknowledged: number;
  served: number;
}

/** Runs one seed to its end: with the faults that it draws, or with these. */
export function runSchedule(settings: Settings & { faults?: readonly Fault[] }): Outcome {
  const shape = new Chance(settings.seed * 7 + 1);
  const profile = PROFILES[settings.seed % PROFILES.length]!;
  const config = { ...drawConfig(shape), ...settings.config };
  const watch = new Chance(settings.seed * 11 + 3);
  if (watch.is(0.5)) config.watched ??= WATCHED_IN_PARTS;
  const watched = config.watched !== undefined;
  const downForAll = watched ? drawDownForAll(watch) : null;
  const faults = settings.faults?.slice() ?? [
    ...drawFaults(shape, profile),
    ...(watched ? drawResourceFaults(watch) : []),
  ];
  const people = new Chance(settings.seed * 19 + 7);
  if (config.kind === "mirror" && people.is(0.3)) config.fences ??= true;
  if (settings.faults === undefined) {
    if (people.is(0.4)) faults.push(...drawMaintenance(people));
    if (config.fences === true) faults.push(...drawPowerFaults(people));
  }
  const third = new Chance(settings.seed * 13 + 5);
  const witness = settings.witness ?? (third.is(0.5) ? (third.is(0.92) ? "records" : "pings") : null);
  if (witness !== null && settings.faults === undefined) faults.push(...drawWitnessFaults(third));
  faults.sort((a, b) => a.at - b.at);
  const world = new World({ ...settings, config, ...(witness === null ? {} : { witness }) });
  world.tell(`seed ${settings.seed}: ${profile}, ${JSON.stringify({ ...config, watched, witness })}`);
  let violation: string | null = null;
  try {
    live(world, faults);
    violation = peace(world, downForAll);
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    violation = error.message;
  }
  if (violation !== null) world.tell(`BROKEN: ${violation}`);
  return {
    seed: settings.seed,
    profile,
    faults,
    violation,
    story: world.story,
    acknowledged: world.check.acknowledged_.length,
    served: world.check.served,
  };
}

/** The guarantee that a violation names. */
export const guaranteeOf = (violation: string | null): string | null => violation?.split(":")[0] ?? null;

/** The shortest schedule with the seed's own beginning that still breaks the same guarantee, and its story. */
export function shrunk(settings: Settings): Outcome {
  const whole = runSchedule(settings);
  const broken = guaranteeOf(whole.violation);
  if (broken === null) return whole;
  const { story: _, coverage: __, ...quiet } = settings;
  const faults = shrink(
    whole.faults,
    (fewer) => guaranteeOf(runSchedule({ ...quiet, faults: fewer }).violation) === broken,
  );
  return runSchedule({ ...settings, faults });
}

function drawConfig(shape: Chance): Partial<FailoverConfig> {
  return {
    failover: shape.is(0.1) ? "manual" : "automatic",
    failback: shape.is(0.2) ? shape.pick(["n1", "n2"]) : null,
    onIsolation: shape.is(0.2) ? "wait" : "continue",
    replicated: !shape.is(0.05),
    kind: shape.is(0.03) ? "farm" : "mirror",
  };
}

function live(world: World, faults: readonly Fault[]): void {
  const { clock, chance, nodes } = world;
  for (const node of nodes) clock.at(chance.between(0, 500), () => node.boot());
  for (const node of nodes)
    clock.at(600 + chance.between(0, 800), () => node.command({ name: "start" }, "admin"));
  clock.at(2600, () => nodes[0].command({ name: "prim", force: false }, "admin"));
  for (const fault of faults) clock.at(fault.at, () => strike(world, fault));
  clock.runUntil(FAULTS_END);
}
