/** What may befall two nodes: drawn from a seed as a list, so that a list can be made shorter and told in words. */
import type { Command } from "../../core/failover/types.ts";
import { PART, WATCHED_NAMES } from "./failover_checks.ts";
import type { Chance } from "./failover_clock.ts";
import { LANS, type LanName } from "./failover_network.ts";

/** What may happen in a schedule. */
export type Profile = "crashes" | "networks" | "failures" | "everything";
export const PROFILES: readonly Profile[] = ["crashes", "networks", "failures", "everything"];

/** One misfortune, or one command. Times in ms; `node` is an index. */
export type Fault = { at: number; node: 0 | 1 } & (
  | { do: "crash"; off: number }
  | { do: "crash both"; apart: number; off: number; otherOff: number }
  /** Between two effects: after the node has begun so many more. */
  | { do: "crash at an effect"; effects: number; off: number }
  | { do: "command"; command: Command; by: "human" | "rule" }
  | { do: "daemon killed"; adopts: boolean }
  | { do: "daemon stopped"; ms: number }
  /** `seen`: its clocks went on, so it knows when it wakes; else a hypervisor stopped them too. */
  | { do: "stun"; ms: number; seen: boolean }
  | { do: "pace"; rate: number }
  | { do: "wall clock"; by: number }
  | { do: "cut"; lans: readonly LanName[]; from: readonly (0 | 1)[]; ms: number }
  | { do: "flap"; times: readonly number[] }
  | { do: "weather"; loss: number; repeat: number; straggler: number }
  | { do: "hook fails"; hook: string; ms: number }
  | { do: "hooks are slow"; factor: number; ms: number }
  /** People work on the module; the other node hears of it a little later. */
  | { do: "maintenance"; ms: number }
  | { do: "process dies" }
  | { do: "disk fails"; detail: string }
  | { do: "disk slow"; factor: number; ms: number }
  | { do: "record unwritable"; ms: number }
  | { do: "fenced" }
  /** A resource is down for a while, on one node or on both. */
  | { do: "resource"; name: string; both: boolean; ms: number }
  /** The witness; `all`: with what it had recorded. */
  | { do: "witness begins anew"; all: boolean; ms: number }
  | { do: "witness stands still"; withClock: boolean; ms: number }
  | { do: "witness is slow"; slow: number; repeat: number; ms: number }
  | { do: "witness answers late"; by: number; ms: number }
  | { do: "witness has another pace"; rate: number }
  | { do: "witness is cut"; there: boolean; back: boolean; both: boolean; ms: number }
  /** What a node sends its peer takes so much longer. */
  | { do: "lag"; by: number; ms: number }
  /** A node from everybody at once. */
  | { do: "isolated"; ms: number }
);
type Body = Fault extends infer F ? (F extends unknown ? Omit<F, "at" | "node"> : never) : never;

const FIRST = 3000;
/** When the last fault has begun, ms. */
export const FAULTS_END = 16_000;
/** How far a clock may run fast or slow: the guarantee G4(b) is held to this. */
export const DRIFT = 0.05;

/** Draws a schedule. */
export function drawFaults(chance: Chance, profile: Profile): Fault[] {
  const faults: Fault[] = [];
  for (const node of [0, 1] as const)
    if (chance.is(0.6)) faults.push({ at: 0, node, do: "pace", rate: 1 + chance.between(-DRIFT, DRIFT) });
  if (profile === "networks" || profile === "everything")
    faults.push({
      at: 0,
      node: 0,
      do: "weather",
      loss: chance.is(0.5) ? chance.between(0, 0.3) : 0,
      repeat: chance.is(0.3) ? 0.1 : 0,
      straggler: chance.is(0.3) ? 0.05 : 0,
    });
  let last = FIRST;
  const count = 2 + Math.floor(chance.next() * 9);
  for (let index = 0; index < count; index++) {
    // Faults come in bursts: the second strikes while the first is being dealt with.
    const isBurst = index % 2 === 1 && chance.is(0.6);
    const at = Math.min(
      isBurst ? last + chance.between(0, 1500) : chance.between(FIRST, FAULTS_END),
      FAULTS_END - 1,
    );
    last = at;
    faults.push({ at, node: chance.is(0.5) ? 0 : 1, ...drawOne(chance, profile) } as Fault);
  }
  return faults.sort((a, b) => a.at - b.at);
}

/** Draws what goes wrong with what the checkers look at. */
export function drawResourceFaults(chance: Chance): Fault[] {
  const count = 1 + Math.floor(chance.next() * 7);
  return Array.from({ length: count }, () => ({
    at: chance.is(0.15) ? chance.between(0, FIRST) : chance.between(FIRST, FAULTS_END - 1),
    node: chance.is(0.5) ? 0 : 1,
    do: "resource",
    name: chance.pick(WATCHED_NAMES),
    both: chance.is(0.3),
    ms: chance.between(50, 6000),
  }));
}

/** Draws when people work on the module. */
export function drawMaintenance(chance: Chance): Fault[] {
  const count = Math.floor(chance.next() * 4);
  return Array.from({ length: count }, () => ({
    at: chance.between(FIRST, FAULTS_END - 1),
    node: chance.is(0.5) ? 0 : 1,
    do: "maintenance",
    ms: chance.between(200, 6000),
  }));
}

/** Draws what goes wrong with cutting the other's power: a board that does not answer, and often just when it is needed. */
export function drawPowerFaults(chance: Chance): Fault[] {
  const count = Math.floor(chance.next() * 3);
  const fails = { do: "hook fails", hook: "fence" } as const;
  const silent: Fault[] = Array.from({ length: count }, () => {
    const node = chance.is(0.5) ? 0 : 1;
    return { at: chance.between(FIRST, FAULTS_END - 1), node, ...fails, ms: chance.between(1000, 8000) };
  });
  if (chance.is(0.5)) return silent;
  const at = chance.between(FIRST + 1000, FAULTS_END - 3000);
  const ms = chance.between(1500, 5000);
  const parted: Fault = chance.is(0.5)
    ? { at, node: 0, do: "cut", lans: LANS, from: [0, 1], ms }
    : { at, node: chance.is(0.5) ? 0 : 1, do: "isolated", ms };
  const both: Fault[] = ([0, 1] as const).map((node) => ({
    at,
    node,
    ...fails,
    ms: chance.between(500, ms + 2000),
  }));
  return [...silent, parted, ...both];
}

/** Draws what befalls the witness, and the roads to it. */
export function drawWitnessFaults(chance: Chance): Fault[] {
  const pace: Body = { do: "witness has another pace", rate: 1 + chance.between(-DRIFT, DRIFT) };
  const count = Math.floor(chance.next() * 7);
  const drawn = Array.from({ length: count }, () => ({
    at: chance.between(chance.is(0.1) ? 0 : FIRST, FAULTS_END - 1),
    node: chance.is(0.5) ? 0 : 1,
    ...drawTrouble(chance),
  }));
  const hunt = chance.is(0.6) ? drawHunt(chance) : [];
  return [{ at: 0, node: 0, ...pace }, ...(drawn as Fault[]), ...hunt];
}

/** Troubles that make one of the rules about leases matter only when they come together, in this order. */
function drawHunt(chance: Chance): Fault[] {
  const node = chance.is(0.5) ? 0 : 1;
  const other = node === 0 ? 1 : 0;
  const at = chance.between(FIRST + 2000, FAULTS_END - 3000);
  const ms = chance.between(1500, 4000);
  const parted = { at, node, do: "cut", lans: LANS, from: [0, 1], ms } as const;
  const isolated = { at, node, do: "isolated", ms } as const;
  switch (
    chance.pick(["late lease", "forgotten lease", "stopped", "in turn", "stops slowly", "late promise"])
  ) {
    // The lease comes late, and then nothing more.
    case "late lease":
      return [
        parted,
        { at: at + 380, node, do: "witness answers late", by: chance.between(250, 470), ms: 600 },
        {
          at: at + chance.between(450, 800),
          node,
          do: "witness is cut",
          there: true,
          back: false,
          both: false,
          ms,
        },
      ];
    // A lease that only its holder remembers.
    case "forgotten lease": {
      const after = chance.between(600, 1000);
      return [
        parted,
        { at: at + after, node, do: "witness is cut", there: true, back: true, both: false, ms },
        { at: at + after + 10, node, do: "witness begins anew", all: false, ms: chance.between(1, 50) },
      ];
    }
    // Alone with a right that ends soon, and nobody awake to see it.
    case "stopped":
      return [isolated, { at: at + chance.between(350, 650), node, do: "daemon stopped", ms }];
    // It still hears the one who does not hear it, until just before that one speaks up.
    case "in turn": {
      const later = chance.between(300, 1500);
      return [
        { ...parted, from: [node] },
        { ...parted, at: at + later, from: [other] },
      ];
    }
    // Alone with a lease, it takes its time to stop, while the other waits for that lease.
    case "stops slowly": {
      const after = chance.between(1050, 1700);
      return [
        { ...parted, from: [node] },
        // Nor does it hear that the other has begun.
        { ...parted, at: at + after - 50, from: [other] },
        { at: at + after - 50, node, do: "hooks are slow", factor: chance.between(5, 20), ms: 1000 },
        { at: at + after, node, do: "command", command: { name: "stop" }, by: "human" },
      ];
    }
    // Words that were long under way are not worth more for it.
    default:
      return [{ at: at - 1500, node: other, do: "lag", by: chance.between(200, 900), ms: 5000 }, isolated];
  }
}

function drawTrouble(chance: Chance): Body {
  const ms = chance.between(50, 5000);
  const roll = chance.next();
  if (roll < 0.25) return { do: "isolated", ms };
  if (roll < 0.4) return { do: "witness begins anew", all: chance.is(0.3), ms: chance.between(1, 3000) };
  if (roll < 0.5) return { do: "witness stands still", withClock: chance.is(0.5), ms };
  if (roll < 0.7) return { do: "witness is slow", slow: chance.next(), repeat: chance.is(0.5) ? 0.5 : 0, ms };
  const way = chance.next();
  return {
    do: "witness is cut",
    there: way < 0.7,
    back: way > 0.4,
    both: chance.is(0.4),
    ms,
  };
}

function drawOne(chance: Chance, profile: Profile): Body {
  const any = profile === "everything";
  const roll = chance.next();
  if (roll < 0.3) return drawCrash(chance);
  if (roll < 0.55)
    return { do: "command", command: drawCommand(chance, any), by: chance.is(0.15) ? "rule" : "human" };
  if (profile === "networks" || (any && roll < 0.8)) return drawTear(chance);
  if (profile === "failures" || any) return drawFailure(chance);
  if (roll < 0.75) return { do: "daemon killed", adopts: chance.is(0.7) };
  if (roll < 0.8) return { do: "daemon stopped", ms: chance.between(100, 3000) };
  return drawCrash(chance);
}

function drawCrash(chance: Chance): Body {
  const off = chance.between(200, 6000);
  const roll = chance.next();
  if (roll < 0.2)
    return {
      do: "crash both",
      apart: chance.is(0.3) ? 0 : chance.between(0, 300),
      off,
      otherOff: chance.between(400, 6000),
    };
  if (roll < 0.6) return { do: "crash at an effect", effects: Math.floor(chance.between(1, 14)), off };
  return { do: "crash", off };
}

function drawCommand(chance: Chance, any: boolean): Command {
  const roll = chance.next();
  if (roll < 0.3) return { name: "swap" };
  if (roll < 0.45) return { name: "stop" };
  if (roll < 0.65) return { name: "start" };
  if (roll < 0.69) return { name: "restart" };
  if (roll < 0.73) return { name: "restart", part: PART };
  if (roll < 0.82) return { name: "stopstart" };
  if (roll < 0.87) return { name: "forcestop" };
  if (roll < 0.93 || !any) return { name: "second", full: chance.is(0.3) };
  return { name: "prim", force: chance.is(0.5) };
}

function drawTear(chance: Chance): Body {
  const ms = chance.between(100, 5000);
  const both: readonly (0 | 1)[] = [0, 1];
  const one: readonly (0 | 1)[] = [chance.is(0.5) ? 0 : 1];
  const roll = chance.next();
  if (roll < 0.25) return { do: "stun", ms: chance.between(100, 4000), seen: chance.is(0.6) };
  if (roll < 0.42) return { do: "daemon stopped", ms: chance.between(100, 3000) };
  if (roll < 0.45) return { do: "wall clock", by: chance.between(-100, 100) * 3_600_000 };
  if (roll < 0.65) return { do: "cut", lans: LANS, from: both, ms };
  if (roll < 0.78) return { do: "cut", lans: LANS, from: one, ms };
  if (roll < 0.88) return { do: "cut", lans: [chance.pick(LANS)], from: both, ms };
  if (roll < 0.95) return { do: "cut", lans: [chance.pick(LANS)], from: one, ms };
  return { do: "flap", times: Array.from({ length: 6 }, () => chance.between(100, 600)) };
}

const HOOKS = [
  "start_prim",
  "stop_prim",
  "start_second",
  "stop_second",
  "prestart",
  "start_both",
  "restart_process",
];
const DISK_ERRORS = ["fsync: input/output error", "write: no space left on device"];

function drawFailure(chance: Chance): Body {
  const roll = chance.next();
  if (roll < 0.05)
    return { do: "hooks are slow", factor: chance.between(2, 30), ms: chance.between(200, 3000) };
  if (roll < 0.35) return { do: "hook fails", hook: chance.pick(HOOKS), ms: chance.between(500, 4000) };
  if (roll < 0.5) return { do: "process dies" };
  if (roll < 0.68) return { do: "disk fails", detail: chance.pick(DISK_ERRORS) };
  if (roll < 0.8) return { do: "disk slow", factor: chance.between(10, 800), ms: chance.between(500, 5000) };
  if (roll < 0.95) return { do: "record unwritable", ms: chance.between(200, 2000) };
  return { do: "fenced" };
}
