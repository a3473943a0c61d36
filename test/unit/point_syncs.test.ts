/** Durable points on one disk: in order, without loss, and each with syncs of its own. */
import t from "tap";
import { PointSyncs, type Reach } from "../../core/filesystem/loop/point_syncs.ts";
import { type Completion, Job, type Pool } from "../../core/filesystem/loop/pool.ts";
import type { Memory } from "../../core/platform/linux/memory.ts";

/** A pool that ends its jobs when the test says so. */
class SlowPool {
  jobs: { kind: number; fd: number; owner: Completion; cookie: number }[] = [];
  full = false;
  submit(
    kind: number,
    fd: number,
    _offset: number,
    _length: number,
    _address: number,
    owner: Completion,
    cookie: number,
  ): boolean {
    if (!this.full) this.jobs.push({ kind, fd, owner, cookie });
    return !this.full;
  }
  finish(result = 0): void {
    const job = this.jobs.shift()!;
    job.owner.completed(job.cookie, result, {} as Memory);
  }
}

/** Objects by number: 100 and above cannot be reached, 0 needs no sync; all others are this process's standard error. */
const reach: Reach = {
  open: (id) => (id >= 100 ? -2 : id === 0 ? null : 2),
  release: () => {},
  end: () => {},
};

function points(): {
  pool: SlowPool;
  syncs: PointSyncs;
  ended: string[];
  ask(name: string, ids: number[] | "everything"): void;
} {
  const pool = new SlowPool();
  const syncs = new PointSyncs(reach, pool as unknown as Pool, [7]);
  const ended: string[] = [];
  const ask = (name: string, ids: number[] | "everything"): void =>
    syncs.sync(ids, (errno, failed) =>
      ended.push(errno === 0 ? `${name} 0` : `${name} ${errno}: ${failed ?? "anything"}`),
    );
  return { pool, syncs, ended, ask };
}

t.test("a point that is begun while another runs does not end with the other's syncs", async (t) => {
  const { pool, ended, ask } = points();
  ask("first", "everything");
  ask("second", "everything");
  pool.finish();
  t.same(ended, ["first 0"]);
  pool.finish();
  t.same(ended, ["first 0", "second 0"]);
});

t.test("objects are synced one by one, whole file systems when one cannot be reached", async (t) => {
  const { pool, ended, ask } = points();
  ask("objects", [1, 0, 2, 3]);
  while (pool.jobs.length > 0) {
    t.equal(pool.jobs[0]!.kind, Job.FSYNC);
    pool.finish();
  }
  t.same(ended, ["objects 0"]);
  ask("lost", [0, 100, 4, 5]);
  t.same(
    pool.jobs.map(({ kind, fd }) => [kind, fd]),
    [[Job.SYNCFS, 7]],
  );
  pool.finish();
  ask(
    "many",
    Array.from({ length: 513 }, (_, index) => index % 90).concat(
      Array.from({ length: 600 }, (_, index) => -1 - index),
    ),
  );
  t.equal(pool.jobs[0]!.kind, Job.SYNCFS);
  pool.finish();
  ask("nothing", []);
  t.same(ended, ["objects 0", "lost 0", "many 0", "nothing 0"]);
});

t.test("an error reaches who asked, and a full pool only delays", async (t) => {
  const { pool, syncs, ended, ask } = points();
  ask("failed", [1, 2, 3]);
  pool.finish(-5);
  while (pool.jobs.length > 0) pool.finish();
  t.same(ended, ["failed 5: 1"]);
  ask("unknown", "everything");
  pool.finish(-5);
  t.equal(ended.pop(), "unknown 5: anything");
  pool.full = true;
  ask("late", "everything");
  pool.full = false;
  t.equal(pool.jobs.length, 0);
  syncs.retry();
  pool.finish();
  t.same(ended, ["failed 5: 1", "late 0"]);
  ask("unheard", [1, 2, 3, 4]);
  ask("unheard too", "everything");
  syncs.clear();
  while (pool.jobs.length > 0) pool.finish();
  t.ok(syncs.idle);
  t.same(ended, ["failed 5: 1", "late 0"]);
});
