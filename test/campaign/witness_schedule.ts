/**
 * What befalls two nodes and their witness: drawn from a seed as a list, so that it can be told in words and had again.
 *
 * Nodes are named by what they are when it strikes: `prim` is the one that acknowledged last.
 */
import { randomFrom } from "./random.ts";

/** Which witness the cluster has: a Holdfast or an etcd. */
export type WitnessKind = "node" | "etcd";
/** A node, by what it is when something befalls it. */
export type Role = "prim" | "second";
/** Who can be cut from whom. */
export type Party = Role | "witness";
/** One direction between two machines; without `lan`: on all that they share. */
export interface Link {
  from: Party;
  to: Party;
  lan?: "lan" | "repl";
}

/** Who runs first when a frozen machine is thawed; the rest follows `AHEAD_MS` later. */
export type Thaw = "all at once" | "the application first" | "application and replication first";
/** How long the first ones of a thawed machine run without the others, ms. */
export const AHEAD_MS = 400;

/** One misfortune: when it begins, and how long it lasts, ms. */
export type Fault = { at: number; ms: number } & (
  | { do: "links"; shape: string; cut: readonly Link[] }
  /** The client from both nodes. */
  | { do: "client" }
  | { do: "witness"; how: "killed" | "frozen" | "emptied" }
  /** SIGSTOP of everything that the machine runs, or of the daemon alone. */
  | { do: "frozen"; who: Role; what: "everything" | "the daemon"; thaw: Thaw }
  /** `both`: the second `apartMs` after the first. */
  | { do: "power"; who: Role | "both"; apartMs: number }
  | { do: "stop"; who: Role }
  | { do: "swap" }
);
type Body = Fault extends infer F
  ? F extends unknown
    ? Omit<F, "at" | "ms"> & { ms?: number }
    : never
  : never;

/** All that a seed says of one round. */
export interface Schedule {
  seed: number;
  round: number;
  witness: WitnessKind;
  /** Heartbeat timeout of the cluster, ms. */
  timeoutMs: number;
  faults: readonly Fault[];
}

const PARTIES: readonly Party[] = ["prim", "second", "witness"];
/** Every direction there is. The witness is on the first lan alone. */
const LINKS: readonly Link[] = [
  ...(["lan", "repl"] as const).flatMap((lan): Link[] => [
    { from: "prim", to: "second", lan },
    { from: "second", to: "prim", lan },
  ]),
  ...(["prim", "second"] as const).flatMap((node): Link[] => [
    { from: node, to: "witness" },
    { from: "witness", to: node },
  ]),
];
const LAST_MS = 14_000;
const NEXT_ROUND = 1_000_003;
const FROZEN_LONG_MS = 30_000;

/** Draws one number from a range, one of a list, or whether something happens. */
class Draw {
  readonly next: () => number;
  constructor(seed: number) {
    this.next = randomFrom(seed);
  }
  between(least: number, most: number): number {
    return Math.round(least + this.next() * (most - least));
  }
  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.next() * list.length)]!;
  }
  is(chance: number): boolean {
    return this.next() < chance;
  }
}

const drawCluster = (draw: Draw): Pick<Schedule, "witness" | "timeoutMs"> => ({
  witness: draw.pick<WitnessKind>(["node", "etcd"]),
  timeoutMs: draw.pick([1000, 2000]),
});

/** A schedule of a seed, whose rounds, from 0 on, befall the same cluster one after the other. */
export function drawSchedule(seed: number, round = 0): Schedule {
  const { witness, timeoutMs } = drawCluster(new Draw(seed));
  const draw = new Draw(seed + round * NEXT_ROUND);
  drawCluster(draw);
  const faults: Fault[] = [];
  let last = 0;
  for (let count = draw.between(2, 6); count > 0; count--) {
    // Faults come in bursts: the next strikes while the last is being dealt with.
    const at = draw.is(0.6) ? last + draw.between(0, 2 * timeoutMs) : draw.between(0, LAST_MS);
    last = Math.min(at, LAST_MS);
    const body = drawOne(draw);
    faults.push({ at: last, ms: drawLength(draw, timeoutMs), ...body } as Fault);
  }
  if (draw.is(0.35)) faults.push(frozenPrim(draw));
  return { seed, round, witness, timeoutMs, faults: faults.sort((one, other) => one.at - other.at) };
}

/** Around the heartbeat timeout, where it is close, or well beyond. */
function drawLength(draw: Draw, timeoutMs: number): number {
  return draw.is(0.4) ? draw.between(0.3 * timeoutMs, 1.5 * timeoutMs) : draw.between(2 * timeoutMs, 9000);
}

/** The zombie: thawed when the other has taken over, mostly. */
function frozenPrim(draw: Draw): Fault {
  const ms = draw.is(0.4) ? FROZEN_LONG_MS : draw.between(3000, 12_000);
  return {
    at: draw.between(0, 4000),
    ms,
    do: "frozen",
    who: "prim",
    what: "everything",
    thaw: drawThaw(draw),
  };
}

const drawThaw = (draw: Draw): Thaw =>
  draw.pick(["all at once", "the application first", "application and replication first"]);
const drawRole = (draw: Draw): Role => (draw.is(0.65) ? "prim" : "second");

function drawOne(draw: Draw): Body {
  const roll = draw.next();
  if (roll < 0.45) return drawLinks(draw);
  if (roll < 0.6) return { do: "witness", how: draw.pick(["killed", "frozen", "emptied"]) };
  if (roll < 0.75) {
    const what = draw.is(0.75) ? "everything" : "the daemon";
    return { do: "frozen", who: drawRole(draw), what, thaw: drawThaw(draw) };
  }
  if (roll < 0.87) {
    const who = draw.is(0.25) ? "both" : drawRole(draw);
    return { do: "power", who, apartMs: draw.is(0.5) ? 0 : draw.between(0, 1500) };
  }
  if (roll < 0.92) return { do: "stop", who: drawRole(draw) };
  return roll < 0.96 ? { do: "swap" } : { do: "client" };
}

const between = (one: Party, other: Party): Link[] => [
  { from: one, to: other },
  { from: other, to: one },
];

function drawLinks(draw: Draw): Body {
  const one = draw.is(0.65) ? "prim" : "second";
  const other = one === "prim" ? "second" : "prim";
  const shapes: Record<string, () => readonly Link[]> = {
    isolated: () => PARTIES.filter((party) => party !== one).flatMap((party) => between(one, party)),
    "cannot be heard": () => PARTIES.filter((party) => party !== one).map((to) => ({ from: one, to })),
    "cannot hear": () => PARTIES.filter((party) => party !== one).map((from) => ({ from, to: one })),
    parted: () => between("prim", "second"),
    "parted one way": () => [{ from: one, to: other }],
    "cut from the witness": () => between(one, "witness"),
    "cut from the witness one way": () => [draw.pick(between(one, "witness"))],
    "the witness is isolated": () => [...between("prim", "witness"), ...between("second", "witness")],
    "everybody alone": () => [
      ...between("prim", "second"),
      ...between("prim", "witness"),
      ...between("second", "witness"),
    ],
    "any links": () => LINKS.filter(() => draw.is(0.5)),
  };
  const shape = draw.pick([...Object.keys(shapes), "any links", "any links"]);
  return { do: "links", shape, cut: shapes[shape]!() };
}

/** A fault, as a person would say it. */
export function faultInWords(fault: Fault): string {
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
  return `${seconds(fault.at)}: ${what(fault)}${fault.do === "swap" ? "" : `, for ${seconds(fault.ms)}`}`;
}

function what(fault: Fault): string {
  switch (fault.do) {
    case "links": {
      const links = fault.cut.map(({ from, to, lan }) => `${from}→${to}${lan ? ` on ${lan}` : ""}`);
      return `${fault.shape}: cut ${links.join(", ") || "nothing"}`;
    }
    case "client":
      return "the client is cut from both nodes";
    case "witness":
      return `the witness is ${fault.how === "emptied" ? "killed and its records are lost" : fault.how}`;
    case "frozen":
      return `${fault.what} of ${fault.who} is frozen (thawed: ${fault.thaw})`;
    case "power":
      return fault.who === "both"
        ? `both lose power, ${(fault.apartMs / 1000).toFixed(1)} s apart`
        : `${fault.who} loses power`;
    case "stop":
      return `${fault.who} is stopped cleanly, and started again`;
    case "swap":
      return "prim is told to swap";
  }
}

/** All of a schedule, a line for each fault. */
export function scheduleInWords({ seed, round, witness, timeoutMs, faults }: Schedule): string {
  const kind = witness === "etcd" ? "etcd" : "a Holdfast witness";
  return [
    `seed ${seed}, round ${round}: ${kind}, heartbeat timeout ${timeoutMs} ms`,
    ...faults.map(faultInWords),
  ].join("\n  ");
}

/** What a fault is counted as. */
export function kindOf(fault: Fault): string {
  switch (fault.do) {
    case "links":
      return `links: ${fault.shape}`;
    case "witness":
      return `witness ${fault.how}`;
    case "frozen":
      return `${fault.who} frozen (${fault.what})`;
    case "power":
      return `power of ${fault.who} cut`;
    case "stop":
      return `${fault.who} stopped and started`;
    default:
      return fault.do === "swap" ? "swap" : "client cut off";
  }
}
