/**
 * What a node remembers of a module, as it tells it: the decisions of its failover core, and the lines of its log that people wrote or must read.
 */
import * as v from "valibot";

const decisionSchema = v.looseObject({
  time: v.string(),
  node: v.string(),
  why: v.string(),
  state: v.string(),
  readiness: v.string(),
  event: v.looseObject({ type: v.string() }),
  effects: v.array(v.looseObject({ id: v.exactOptional(v.number()), do: v.string() })),
  /** Of a `done`: what was done, and how long it took, ms. */
  step: v.exactOptional(v.object({ what: v.string(), tookMs: v.number() })),
});
const lineSchema = v.looseObject({ time: v.string(), node: v.string(), level: v.string(), text: v.string() });

/** One entry of decisions.log. */
export type Decision = v.InferOutput<typeof decisionSchema>;
/** One line of module.log. */
export type ToldLine = v.InferOutput<typeof lineSchema>;

const toldSchema = v.object({
  node: v.string(),
  /** ISO time of the oldest entry that it has; null: none. */
  since: v.nullable(v.string()),
  decisions: v.array(v.unknown()),
  lines: v.array(v.unknown()),
});

/** How a farm's clients are shared out from now on, which only the log has. */
export const SHARES = /^Farm load: (.*)/;

/** One node's side. */
export interface Told {
  node: string;
  since: string | null;
  decisions: Decision[];
  lines: ToldLine[];
}

/** Reads one node's side; entries of another version that cannot be read are left out. Null when it is no such answer. */
export function readTold(answer: unknown): Told | null {
  const told = v.safeParse(toldSchema, answer);
  if (!told.success) return null;
  const { node, since, decisions, lines } = told.output;
  return { node, since, decisions: only(decisionSchema, decisions), lines: only(lineSchema, lines) };
}

function only<Schema extends v.GenericSchema>(
  schema: Schema,
  values: readonly unknown[],
): v.InferOutput<Schema>[] {
  return values.filter((value) => v.is(schema, value)) as v.InferOutput<Schema>[];
}

/** The same side with all times on the asker's clock, which is `aheadMs` behind. */
export function onOurClock(told: Told, aheadMs: number): Told {
  const shift = <T extends { time: string }>(entry: T): T => ({
    ...entry,
    time: new Date(Date.parse(entry.time) - aheadMs).toISOString(),
  });
  if (aheadMs === 0) return told;
  return {
    ...told,
    since: told.since === null ? null : shift({ time: told.since }).time,
    decisions: told.decisions.map(shift),
    lines: told.lines.map(shift),
  };
}
