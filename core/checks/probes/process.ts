/**
 * Do the module's processes live, and are there as many as there should be? Whoever was found is watched: that too few are left is noticed at once, and
 * not at the next look.
 */
import { readFile } from "node:fs/promises";
import { watchDeath } from "../../platform/linux/process_death.ts";
import { stateOf } from "../../services/units.ts";
import type { Finding } from "../judgement.ts";
import type { Subject } from "../module_checks.ts";
import { down, type Probe, unknown, up } from "../probe.ts";
import { findProcesses, processOf } from "../process_table.ts";

type Selection = Extract<Subject, { type: "process" }>;

/** So many are watched at most; the others are noticed at the next look. */
const WATCHED_MAX = 256;

/** The living processes of a systemd unit, below its cgroup. */
export type UnitMembers = (cgroup: string) => readonly number[];

/** See the top of the file. `notice`: look again, now. */
export function processProbe(selection: Selection, unitMembers: UnitMembers, notice: () => void): Probe {
  const deaths = new Map<number, () => void>();
  const find = finder(selection, unitMembers);
  let isDown = false;
  /** Returns those that ended between being found and being watched. */
  const watch = (pids: readonly number[]): Set<number> => {
    const gone = new Set<number>();
    for (const [pid, stop] of deaths)
      if (!pids.includes(pid)) {
        stop();
        deaths.delete(pid);
      }
    for (const pid of pids.slice(0, WATCHED_MAX)) {
      if (deaths.has(pid)) continue;
      const stop = watchDeath(pid, () => {
        deaths.delete(pid);
        // A server that ends a process with each connection would have all of /proc read all the time: those that are left are enough.
        if (isDown || deaths.size < selection.min) notice();
      });
      if (stop === null) gone.add(pid);
      else deaths.set(pid, stop);
    }
    return gone;
  };
  return {
    look: async (signal) => {
      const pids = await find(signal);
      if (typeof pids === "string") return unknown(pids);
      const gone = watch(pids);
      const finding = counted(
        selection,
        pids.filter((pid) => !gone.has(pid)),
      );
      isDown = finding.state === "down";
      return finding;
    },
    close: () => {
      for (const stop of deaths.values()) stop();
      deaths.clear();
    },
  };
}

function counted({ min, max, ...selection }: Selection, pids: readonly number[]): Finding {
  const what = described(selection);
  const number = pids.length;
  if (number < min)
    return down(number === 0 ? `no ${what} runs` : `${number} of ${what} run, ${min} at least should`);
  if (max !== undefined && number > max) return down(`${number} of ${what} run, ${max} at most should`);
  return up(number === 1 ? `pid ${pids[0]}` : `${number} processes`);
}

function described({ regex, argumentsRegex, pidFile, unit }: Omit<Selection, "min" | "max">): string {
  if (pidFile !== undefined) return `process of ${pidFile}`;
  if (unit !== undefined) return `process of the unit ${unit}`;
  const named = regex === undefined ? "process" : `process named like ${regex}`;
  return argumentsRegex === undefined ? named : `${named} with arguments like ${argumentsRegex}`;
}

type Find = (signal: AbortSignal) => Promise<number[] | string>;

function finder({ regex, argumentsRegex, pidFile, unit }: Selection, unitMembers: UnitMembers): Find {
  if (pidFile !== undefined) return () => fromPidFile(pidFile);
  if (unit !== undefined) return (signal) => fromUnit(unit, unitMembers, signal);
  const name = regex === undefined ? null : new RegExp(regex, "u");
  const line = argumentsRegex === undefined ? null : new RegExp(argumentsRegex, "u");
  return async (signal) =>
    await findProcesses(
      (entry) =>
        entry.pid !== process.pid &&
        (name === null || name.test(entry.name) || name.test(entry.program)) &&
        (line === null || line.test(entry.commandLine)),
      signal,
    );
}

/** A missing file means that nothing runs: daemons remove theirs when they end. */
async function fromPidFile(file: string): Promise<number[]> {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  const pid = Number(/^\s*(\d+)/.exec(text)?.[1] ?? 0);
  return pid > 0 && processOf(pid) !== null ? [pid] : [];
}

/** The processes in the unit's control group, and in those that it made in it. A sentence where systemd does not answer. */
async function fromUnit(
  unit: string,
  unitMembers: UnitMembers,
  signal: AbortSignal,
): Promise<number[] | string> {
  const state = await stateOf(unit, signal).catch((error: Error) => error.message);
  if (state === null) return "there is no systemd here";
  if (typeof state === "string") return state;
  const { mainPid, controlGroup } = state;
  const members = controlGroup === "" ? [] : unitMembers(controlGroup);
  return (members.length > 0 ? members : [mainPid]).filter((pid) => pid > 0 && processOf(pid) !== null);
}
