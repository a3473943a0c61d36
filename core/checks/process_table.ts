/**
 * The processes of this machine as /proc tells them: read a few at a time, so that a machine with thousands never holds up the event loop.
 */
import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";

/** One living process. */
export interface ProcessEntry {
  pid: number;
  /** What the kernel calls it: at most 15 characters. */
  name: string;
  /** Its command line, joined by spaces; empty for a thread of the kernel. */
  commandLine: string;
  /** The file name of what it was started as; may be longer than `name`, or something else. */
  program: string;
}

/** So many are read before others get their turn. */
const SLICE = 50;

/** The pids of all processes. */
function pids(): number[] {
  return readdirSync("/proc").flatMap((entry) => (/^\d+$/.test(entry) ? [Number(entry)] : []));
}

/** One process; null when it has ended (a zombie has). */
export function processOf(pid: number): ProcessEntry | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const nameEnd = stat.lastIndexOf(")");
    const state = stat[nameEnd + 2];
    if (state === "Z" || state === "X") return null;
    const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    const name = stat.slice(stat.indexOf("(") + 1, nameEnd);
    return {
      pid,
      name,
      commandLine: words.join(" ").trimEnd(),
      program: basename(words[0]!.split(" ")[0]!),
    };
  } catch {
    return null; // It ended while we looked.
  }
}

/** Every process that `wanted` takes. */
export async function findProcesses(
  wanted: (process: ProcessEntry) => boolean,
  signal: AbortSignal,
): Promise<number[]> {
  const found: number[] = [];
  for (const [index, pid] of pids().entries()) {
    const entry = processOf(pid);
    if (entry !== null && wanted(entry)) found.push(pid);
    if (index % SLICE === SLICE - 1) {
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
    }
  }
  return found;
}
