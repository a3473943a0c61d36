/**
 * Has a file system room, and can it be written? Asked by a child: a file system that hangs would keep a thread of the daemon for good, and so
 * would many of them all its threads.
 */
import * as v from "valibot";
import { formatSize } from "../../../modules/units.ts";
import { selfCommand } from "../../platform/self.ts";
import type { Subject } from "../module_checks.ts";
import { down, type Probe, up } from "../probe.ts";

const answerSchema = v.object({
  total: v.number(),
  free: v.number(),
  objects: v.number(),
  freeObjects: v.number(),
  readOnly: v.boolean(),
});

/** What the child says of a file system. Sizes in bytes. */
export type DiskAnswer = v.InferOutput<typeof answerSchema>;

/** See the top of the file. */
export function diskProbe(subject: Extract<Subject, { type: "disk" }>): Probe {
  const { path, minFree, write } = subject;
  return {
    look: async (signal) => {
      const words = ["__disk", path, write ? "write" : "look"] as const;
      const child = Bun.spawn(selfCommand(...words), {
        stdin: "ignore",
        stdout: "pipe",
        stderr: "pipe",
        signal,
        killSignal: "SIGKILL",
      });
      const [text, trouble] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
      ]);
      if ((await child.exited) !== 0) return down(trouble.trim() || `${path} could not be looked at`);
      return verdict(path, minFree, v.parse(answerSchema, JSON.parse(text)));
    },
  };
}

function verdict(path: string, minFree: number, answer: DiskAnswer) {
  const { total, free, objects, freeObjects, readOnly } = answer;
  if (readOnly) return down(`${path} is mounted read-only`);
  const least = (minFree / 100) * total;
  const room = `${formatSize(free)} of ${formatSize(total)} free`;
  if (free < least) return down(`${path} is full: ${room}, less than ${minFree} %`);
  // File systems without a fixed number of objects say 0.
  if (objects > 0 && freeObjects < (minFree / 100) * objects)
    return down(
      `${path} is full: ${freeObjects} of ${objects} files can still be made, less than ${minFree} %`,
    );
  return up(room);
}
