/** What SECOND syncs: all of an object, or only its data where nothing else changed. */
import t from "tap";
import { type Completion, Job, type Pool } from "../../core/filesystem/loop/pool.ts";
import { ReplicaObjects } from "../../core/filesystem/replica/replica_objects.ts";
import { SecondSyncs } from "../../core/filesystem/replica/second_syncs.ts";
import { errnos } from "../../core/platform/linux/errno.ts";
import { eventfd } from "../../core/platform/linux/libc.ts";
import { Frame, FrameType } from "../../core/replication/operation.ts";
import { ATTR_MODE, ATTR_MTIME } from "../../core/replication/replicator.ts";

const FILE = 2;
const OTHER = 3;
const BLOCK = 4096;

/** Syncs over a pool that ends each job at once. Not a file behind the descriptor: the pool here does not use it. */
function second() {
  const objects = new ReplicaObjects();
  const file = objects.introduce(FILE, 1, new TextEncoder().encode("file"), eventfd(0, 0));
  objects.introduce(OTHER, 1, new TextEncoder().encode("other"), eventfd(0, 0));
  const jobs: number[] = [];
  const state = { outcome: 0 };
  const pool = {
    submit: (
      kind: number,
      _: number,
      __: number,
      ___: number,
      ____: number,
      owner: Completion,
      slot: number,
    ) => {
      jobs.push(kind);
      owner.completed(slot, state.outcome, { address: 0, bytes: new Uint8Array() } as never);
      return true;
    },
  } as unknown as Pool;
  const heard: number[] = [];
  const syncs = new SecondSyncs(pool, objects, (_, errno) => heard.push(errno));
  const frame = new Frame();
  const applied = (type: FrameType, { id = FILE, valid = 0, bytes = 0 } = {}): void => {
    frame.type = type;
    frame.id = id;
    frame.valid = valid;
    frame.data.set(new Uint8Array(bytes));
    syncs.applied(frame);
  };
  /** Which job an fsync becomes, or an fdatasync. */
  const sync = ({ id = FILE, flags = 0 } = {}): number => {
    frame.id = id;
    frame.flags = flags;
    syncs.take(frame, false);
    return jobs.pop()!;
  };
  const write = (): void => applied(FrameType.WRITE, { bytes: BLOCK });
  return { file, state, heard, applied, sync, write };
}

t.test("how much a sync has to write: of an object that nobody saw made nothing is known", async (t) => {
  const { file, applied, write } = second();
  write();
  t.equal(file.unsyncedBytes, Number.POSITIVE_INFINITY);
  applied(FrameType.CREATE);
  t.equal(file.unsyncedBytes, 0);
  write();
  t.equal(file.unsyncedBytes, BLOCK);
  applied(FrameType.SETXATTR, { bytes: BLOCK });
  t.equal(file.unsyncedBytes, BLOCK, "the journal's, and as quick as any other commit");
  applied(FrameType.DATA, { bytes: 100 });
  t.equal(file.unsyncedBytes, BLOCK + 100);
  t.doesNotThrow(() => applied(FrameType.WRITE, { id: 9 }), "nobody introduced it");
});

t.test("data, and times that came of writing it, are synced as data once all was synced", async (t) => {
  const { applied, sync, write } = second();
  write();
  t.equal(sync(), Job.FSYNC, "what was before is not known");
  write();
  t.equal(sync(), Job.FDATASYNC);
  write();
  applied(FrameType.SETATTR, { valid: ATTR_MTIME });
  t.equal(sync(), Job.FDATASYNC);
});

t.test("all is synced after any other change, of whatever object", async (t) => {
  for (const [what, change] of Object.entries({
    "its mode": ({ applied }) => applied(FrameType.SETATTR, { valid: ATTR_MODE }),
    "its time, by who wrote nothing": ({ applied }) => applied(FrameType.SETATTR, { valid: ATTR_MTIME }),
    "another object's mode": ({ applied }) => applied(FrameType.SETATTR, { id: OTHER, valid: ATTR_MODE }),
    "a name": ({ applied }) => applied(FrameType.RENAME, { id: OTHER }),
    "what a reintegration brought": ({ applied }) => applied(FrameType.DATA, { bytes: BLOCK }),
  } satisfies Record<string, (made: ReturnType<typeof second>) => void>)) {
    const made = second();
    made.sync();
    made.sync({ id: OTHER });
    change(made);
    made.write();
    t.equal(made.sync({ flags: 1 }), Job.FDATASYNC, "the application asked for no more");
    t.equal(made.sync(), Job.FSYNC, what);
    t.equal(made.sync(), Job.FDATASYNC);
    t.equal(made.sync({ id: OTHER }), Job.FSYNC, "each object for itself");
  }
});

t.test("after a sync that failed all is synced", async (t) => {
  const { state, heard, sync, write } = second();
  sync();
  state.outcome = -errnos.EIO;
  write();
  t.equal(sync(), Job.FDATASYNC);
  state.outcome = 0;
  t.equal(sync(), Job.FSYNC);
  t.same(heard, [0, errnos.EIO, 0]);
});
