/** Which sync is done in the loop, and which PRIM gives to the pool. */
import t from "tap";
import { LocalSyncs } from "../../core/filesystem/fuse/local_syncs.ts";
import type { Session } from "../../core/filesystem/fuse/session.ts";
import { type Completion, Job } from "../../core/filesystem/loop/pool.ts";
import { PromptSyncs } from "../../core/filesystem/loop/prompt_syncs.ts";
import { drainEvent, eventfd, signalEvent } from "../../core/platform/linux/libc.ts";
import type { Memory } from "../../core/platform/linux/memory.ts";

const LITTLE = 4096;

/** A disk that was seen to be quick. */
function trusted(): PromptSyncs {
  const rule = new PromptSyncs();
  for (let i = 0; i < 64; i++) rule.took(0.2);
  return rule;
}

t.test("nothing is done at once before the disk was seen to be quick", async (t) => {
  const rule = new PromptSyncs();
  for (let i = 0; i < 64; i++) {
    t.notOk(rule.allow(0));
    rule.took(0.2);
  }
  t.ok(rule.allow(LITTLE));
  t.notOk(rule.allow(1 << 20), "much to be written");
});

t.test("a slow sync ends that at once, and for a while", async (t) => {
  const rule = trusted();
  rule.took(6);
  t.notOk(rule.allow(LITTLE));
  for (let i = 0; i < 63; i++) rule.took(0.2);
  t.notOk(rule.allow(LITTLE));
  rule.took(0.2);
  t.ok(rule.allow(LITTLE));
});

t.test("so does one that somebody else had to wait for", async (t) => {
  const rule = trusted();
  rule.disturbed();
  t.notOk(rule.allow(LITTLE));
  for (let i = 0; i < 64; i++) rule.took(0.2);
  t.ok(rule.allow(LITTLE));
});

t.test("a commit of the journal now and then does not; a disk that has become slower does", async (t) => {
  const rule = trusted();
  for (let i = 0; i < 200; i++) rule.took(i % 20 === 0 ? 3 : 0.1);
  t.ok(rule.allow(LITTLE));
  for (let i = 0; i < 64; i++) rule.took(2);
  t.notOk(rule.allow(LITTLE));
});

/** A session's syncs over a pool that ends its jobs when the test says so. `queue`: readable when another request waits. */
function session(queue = eventfd(0, 0)) {
  const jobs: { kind: number; owner: Completion; line: number }[] = [];
  const synced: number[] = [];
  const state = {
    fd: queue,
    ended: false,
    isParked: false,
    full: false,
    /** Called before and after each sync. */
    clock: (): void => {},
    pending: {
      count: 0,
      synced: (line: number): void => {
        synced.push(line);
        state.pending.count--;
      },
      completed: (line: number): void => state.pending.synced(line),
    },
    pool: {
      submit: (
        kind: number,
        _: number,
        __: number,
        ___: number,
        ____: number,
        owner: Completion,
        line: number,
      ) => {
        if (!state.full) jobs.push({ kind, owner, line });
        return !state.full;
      },
    },
  };
  const syncs = new LocalSyncs(state as unknown as Session, () => {
    state.clock();
    return 0;
  });
  /** Not a file, so that the call returns at once. */
  const ask = (line: number, node = 7): void => {
    state.pending.count++;
    syncs.add(line, node, queue, false);
  };
  const finish = (): void => {
    const { owner, line } = jobs.shift()!;
    owner.completed(line, 0, {} as Memory);
  };
  for (let i = 0; i < 64; i++) {
    ask(i);
    syncs.begin();
    finish();
  }
  synced.length = 0;
  return { state, syncs, jobs, synced, ask, finish, queue };
}

t.test("PRIM syncs at once what nobody else waits for", async (t) => {
  const { syncs, jobs, synced, ask } = session();
  ask(5);
  t.same(synced, [], "not before the peer was asked");
  syncs.begin();
  t.same(synced, [5]);
  t.same(jobs, []);
  syncs.begin();
  t.same(synced, [5], "once");
});

t.test("after a request that came meanwhile the pool does the next ones", async (t) => {
  const { state, syncs, jobs, synced, ask, queue } = session();
  state.clock = (): void => void signalEvent(queue);
  ask(5);
  syncs.begin();
  t.same(synced, [5]);
  state.clock = (): void => {};
  drainEvent(queue);
  ask(6);
  syncs.begin();
  t.same(synced, [5]);
  t.equal(jobs.length, 1);
});

t.test("the pool syncs for PRIM what others would wait for", async (t) => {
  for (const [what, make] of Object.entries({
    "two at once": ({ ask }) => ask(6),
    "another reply is due": ({ state }) => state.pending.count++,
    "a request waits for room": ({ state }) => (state.isParked = true),
    "a request waits to be read": ({ queue }) => signalEvent(queue),
    "much was written": ({ syncs }) => syncs.wrote(7, 1 << 20),
  } satisfies Record<string, (made: ReturnType<typeof session>) => unknown>)) {
    const made = session();
    make(made);
    made.ask(5);
    made.syncs.begin();
    t.same(made.synced, [], what);
    t.ok(made.jobs.length > 0 && made.jobs.every(({ kind }) => kind === Job.FSYNC));
    while (made.jobs.length > 0) made.finish();
    t.ok(made.synced.includes(5));
  }
});

t.test("what a full pool does not take is tried again; an ended session syncs nothing", async (t) => {
  const { state, syncs, jobs, ask, finish, synced } = session();
  state.full = true;
  ask(1);
  ask(2);
  syncs.begin();
  t.same(jobs, []);
  state.full = false;
  syncs.begin();
  t.same(
    jobs.map(({ line }) => line),
    [1, 2],
  );
  finish();
  finish();
  t.same(synced, [1, 2]);
  ask(3);
  state.ended = true;
  syncs.begin();
  t.same([jobs.length, synced], [0, [1, 2]]);
});
