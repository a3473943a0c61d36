/**
 * The replication process locks its memory, but not while a whole tree is copied or compared: it could not give any back. Garbage is
 * collected after it grew, whatever it does.
 */

import { readFileSync } from "node:fs";
import t from "tap";
import { ProcessMemory } from "../../core/filesystem/process_memory.ts";
import { munlockall } from "../../core/platform/linux/libc.ts";

if (process.getuid?.() !== 0) t.plan(0, "needs root: locks memory");
t.teardown(() => munlockall());

/** Is memory locked, see proc_pid_status(5)? */
const isLocked = (): boolean => !/^VmLck:\s+0 kB$/m.test(readFileSync("/proc/self/status", "utf8"));

t.test("memory is locked, but while a tree is copied, and a little longer", (t) => {
  const memory = new ProcessMemory();
  t.ok(memory.lock());
  memory.tend(false, 1000);
  t.ok(isLocked());
  memory.tend(true, 1200);
  t.notOk(isLocked());
  memory.tend(false, 1400);
  memory.tend(true, 1600);
  memory.tend(false, 10_000);
  t.notOk(isLocked(), "what was collected is given back first");
  memory.tend(false, 11_900);
  t.notOk(isLocked());
  memory.tend(false, 12_000);
  t.ok(isLocked());
  t.end();
});

t.test("garbage is collected when the process grew, also when no tree is copied", (t) => {
  const memory = new ProcessMemory();
  memory.tend(false, 20_000);
  const grown = new Uint8Array(24 << 20).fill(1);
  // Or the runtime would, for what it grew by. And nothing is waited for: between two turns of its own loop it collects as well.
  Bun.gc(true);
  const garbage = Array.from({ length: 1000 }, () => new WeakRef({}));
  memory.tend(false, 20_200);
  const left = garbage.filter((piece) => piece.deref() !== undefined).length;
  // The collector takes for a reference what looks like one on the stack.
  t.ok(left < 100, `${grown.length} bytes more, and ${left} of ${garbage.length} pieces are left`);
  t.end();
});
