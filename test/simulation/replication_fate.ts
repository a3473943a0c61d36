/**
 * A seed's run of the data path: chance moves for so many steps, then faults stop and both copies must come together and serve.
 *
 * Each step draws from the seed and its own number alone. So a step can be taken out of a failing run without changing the others, and
 * the run be made short (shrink.ts).
 */
import { DT_REG } from "./model_file_system.ts";
import type { Statistics } from "./replication_account.ts";
import { type Mutant, type Random, type SimNode, Violation } from "./replication_node.ts";
import type { SourceRole } from "./replication_source.ts";
import { World } from "./replication_world.ts";
import { shrink } from "./shrink.ts";

/** How one run is set up. */
export interface RunSettings {
  seed: number;
  /** How many steps chance has. */
  steps: number;
  /** Only these of them, in order. */
  only?: readonly number[];
  mutant?: Mutant | null;
  story?: boolean;
  coverage?: Map<string, number>;
}

/** How a run ended. */
export interface RunOutcome {
  steps: readonly number[];
  /** Null when every guarantee held, and the copies came together. */
  violation: string | null;
  statistics: Statistics;
  story: readonly string[];
}

/** Steps of an ordinary run. */
export const REPLICATION_STEPS = 600;
/** Rounds that both nodes have to come together once faults stop. */
const BOUND = 20_000;
/** Rounds that the application may take for one write and its fsync after that. */
const NEXT_WRITE = 2000;

/** How often misfortune strikes, in thousandths of the steps: more often in phases that are soon over. */
const MISFORTUNE = {
  none: 2,
  alone: 2,
  held: 300,
  handshake: 15,
  listing: 6,
  reintegrating: 2,
  together: 4,
  inSync: 14,
} as const;

/** xorshift32, started anew for each step: all randomness of a run. */
export class Dice {
  #state = 1;
  constructor(private readonly seed: number) {
    this.step(0);
  }
  /** What is drawn from here on depends on the seed and this number alone. */
  step(number: number): void {
    let mixed = (Math.imul(this.seed + 1, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b)) >>> 0;
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d) >>> 0;
    mixed = Math.imul(mixed ^ (mixed >>> 12), 0x297a2d39) >>> 0;
    this.#state = (mixed ^ (mixed >>> 15)) >>> 0 || 1;
  }
  readonly random: Random = (below) => {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state >>> 0;
    return this.#state % below;
  };
}

/** Runs one seed to its end. */
export function run(settings: RunSettings): RunOutcome {
  const dice = new Dice(settings.seed);
  const world = new World({ ...settings, random: dice.random });
  const fate = new Fate(world);
  const steps = settings.only ?? Array.from({ length: settings.steps }, (_, step) => step + 1);
  let violation: string | null = null;
  try {
    for (const step of steps) {
      dice.step(step);
      world.time = step;
      fate.step();
    }
    dice.step(settings.steps + 1);
    world.time = settings.steps;
    fate.peace();
  } catch (error) {
    // A mutant may break the model itself (an object that should be there is not): caught all the same.
    if (!(error instanceof Violation) && !settings.mutant) throw error;
    violation = error instanceof Violation ? error.message : `model: ${String(error)}`;
    world.tell(() => `BROKEN: ${violation}`);
  }
  return { steps, violation, statistics: world.statistics, story: world.story };
}

/** The guarantee that a violation names. */
const guaranteeOf = (violation: string | null): string | null => violation?.split(":")[0] ?? null;

/** The fewest steps of a failing run that still break the same guarantee, and their story. */
export function shrunkRun(settings: RunSettings): RunOutcome {
  const { coverage: _, story: __, ...quiet } = settings;
  const whole = run(quiet);
  const broken = guaranteeOf(whole.violation);
  if (broken === null) return run(settings);
  const only = shrink(
    whole.steps,
    (fewer) => guaranteeOf(run({ ...quiet, only: fewer }).violation) === broken,
  );
  return run({ ...settings, only });
}

/** Chance, and then peace. */
class Fate {
  readonly #world: World;
  /** How busy the application is, how quickly marks reach the disk, and how slow the disks are: one pace for each run. */
  readonly #pace: { application: number; marks: number; sync: number };

  constructor(world: World) {
    this.#world = world;
    const application = 150 + world.random(150);
    this.#pace = {
      application,
      marks: application + 15 + world.random(85),
      sync: world.random(5) === 0 ? 1 : 5,
    };
    // The first copy ever: the peer holds something else, or nothing.
    if (world.random(2) === 0) world.populate();
    if (world.random(4) === 0) this.#replaceDisk(world.nodes[1]);
  }

  step(): void {
    const world = this.#world;
    const draw = world.random(1000);
    const source = world.source();
    const inSync = source?.phase === "inSync";
    const phase = source?.isListing ? "listing" : (source?.phase ?? "none");
    if (draw < MISFORTUNE[phase]) this.#misfortune(inSync);
    else if (source === null || source.phase === "held") this.#recover();
    else if (draw < this.#pace.application) world.application.act(source);
    else if (draw < this.#pace.marks) source.node.stepMarks();
    else if (draw < 420) source.beginPoint();
    else if (draw < 450) world.syncPoint(source);
    else if (draw < 550) {
      if (world.random(5) < this.#pace.sync) world.stepSyncs(source);
    } else if (draw < 580) this.#recover();
    else this.#stepLink(source);
    world.checkEqual();
  }

  #stepLink(source: SourceRole): void {
    const world = this.#world;
    const { link } = world;
    if (link === null) {
      if (source.node.marks.wantsPoint && source.phase === "alone")
        throw new Violation("liveness: alone, and waits for a durable point");
      return;
    }
    const draw = world.random(10);
    if (draw < 4 && link.toTarget.length > 0) world.toTarget();
    else if (draw < 7 && link.toSource.length > 0) world.toSource();
    else if (draw < 8) {
      if (world.random(5) < this.#pace.sync) world.syncTarget();
    } else if (draw < 9 && source.node.marks.wantsPoint) source.beginPoint();
    else if (link.toTarget.length < 40) source.advance();
    if (world.random(3) === 0) link.target.stepMarks();
  }

  #misfortune(inSync: boolean): void {
    const world = this.#world;
    const [first, second] = world.nodes;
    // In sync the link is cut more often: what follows is the only way to be promoted beside a primary that lives.
    const draw = inSync ? Math.max(0, world.random(14) - 2) : world.random(9);
    if (draw < (inSync ? 1 : 4)) world.cut();
    else if (draw < 5) world.crash(world.source()?.node ?? first);
    else if (draw < 6) world.crash(world.nodes[world.random(2)]!);
    else if (draw < 8) world.crash(first, second);
    else if (draw < 9) this.#failTarget();
    else if (draw < 10) world.swap();
    else if (draw < 11) this.#failTarget();
    else world.diskFails(world.source()!.node, world.random(2) === 0 ? "full" : "sync");
  }

  #failTarget(): void {
    const target = this.#world.link?.target;
    if (target !== undefined) this.#world.diskFails(target, this.#world.random(2) === 0 ? "full" : "sync");
  }

  /** Somebody goes on, or comes back: what the failover core decides, seen from here. */
  #recover(): void {
    const world = this.#world;
    for (const node of world.nodes) if (!node.up && world.random(3) === 0) world.restart(node);
    const source = world.source();
    if (source?.phase === "held" && world.random(2) === 0) {
      world.goAlone();
      return;
    }
    if (source !== null && source.phase !== "held") {
      const peer = world.peerOf(source.node);
      if (source.phase === "alone" && peer.up && world.random(2) === 0) this.#connect();
      return;
    }
    const candidate = world.nodes[world.random(2)]!;
    if (world.canPromote(candidate)) world.promote(candidate);
    else world.force();
  }

  #replaceDisk(node: SimNode): void {
    this.#world.replaceDisk(node, this.#world.random(2) === 0);
  }

  #connect(): void {
    const world = this.#world;
    const target = world.peerOf(world.source()!.node);
    if (target.record.consistency !== "uptodate" && world.random(16) === 0) this.#replaceDisk(target);
    const demanded = world.random(16) === 0;
    if (demanded) world.rot(target);
    world.connect(demanded);
  }

  /** Faults stop: in a bounded time both copies are in sync, equal, and an fsync is acknowledged. */
  peace(): void {
    const world = this.#world;
    world.tell(() => "peace: no more faults");
    for (const { fs } of world.nodes) fs.fails = null;
    for (let round = 0; round < BOUND; round++) {
      if (this.#calm() && world.checkEqual()) {
        this.#serve();
        return;
      }
    }
    throw new Violation("liveness: the copies never came together");
  }

  #serve(): void {
    const world = this.#world;
    const source = world.source()!;
    const before = world.statistics.acknowledged;
    const file = source.node.fs.walk().find(({ inode }) => inode.type === DT_REG);
    // Nothing to write to: that the copies are equal is all there is to show.
    if (file === undefined) return;
    const { application } = world;
    let asked = false;
    for (let round = 0; round < NEXT_WRITE; round++) {
      if (!asked && application.write(source, file.inode, 0, 1)) {
        asked = true;
        application.sync(source, file.inode);
      }
      world.changed(source);
      this.#calm();
      if (asked && world.statistics.acknowledged > before && world.checkEqual()) return;
    }
    throw new Violation("liveness: in sync, and no fsync is acknowledged");
  }

  /** One round of everybody doing what is due. */
  #calm(): boolean {
    const world = this.#world;
    world.time++;
    for (const node of world.nodes) world.restart(node);
    const held = world.source();
    if (held === null || held.phase === "held") this.#recover();
    const source = world.source();
    if (source === null || source.phase === "held") return false;
    if (source.phase === "alone") this.#connect();
    source.node.stepMarks();
    world.syncPoint(source);
    world.stepSyncs(source);
    this.#stepLink(source);
    return source.phase === "inSync";
  }
}
