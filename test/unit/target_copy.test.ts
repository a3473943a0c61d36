/** SECOND's side of reintegration, fed frame by frame: what the source may send at any moment must find its object. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { monotonic } from "../../core/filesystem/loop/poll_loop.ts";
import { Applier } from "../../core/filesystem/replica/applier.ts";
import { ReplicaRoots } from "../../core/filesystem/replica/replica_identity.ts";
import { ReplicaObjects } from "../../core/filesystem/replica/replica_objects.ts";
import { Intake } from "../../core/filesystem/second/intake.ts";
import { TargetCopy } from "../../core/filesystem/second/reintegration/target_copy.ts";
import type { Link } from "../../core/filesystem/stream/link.ts";
import { StreamReader, StreamWriter } from "../../core/filesystem/stream/stream_buffers.ts";
import { errnos } from "../../core/platform/linux/errno.ts";
import { allocate } from "../../core/platform/linux/libc.ts";
import { KEEPS_OTHERS, limboName } from "../../core/replication/names.ts";
import { Frame, FrameType } from "../../core/replication/operation.ts";
import { putEntry } from "../../core/replication/packed.ts";
import { ATTR_MODE } from "../../core/replication/replicator.ts";

if (process.getuid?.() !== 0) t.plan(0, "needs root: identities are trusted attributes");
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const TOP = 2 ** 45 + 1;
const FILE = 2 ** 45 + 2;
const DIRECTORY = 2 ** 45 + 3;
const DT_REG = 8;

/** One that follows, with an empty directory. `send` gives it one frame, as its connection does. */
function target(t: Test) {
  const top = mkdtempSync(join(tmpdir(), "holdfast-target-"));
  const roots = new ReplicaRoots([top], 2);
  const objects = new ReplicaObjects();
  const applier = new Applier(objects, roots);
  const copy = new TargetCopy(applier, objects, roots, [null], [top]);
  t.teardown(() => {
    copy.reset();
    objects.clear();
    roots.close();
    rmSync(top, { recursive: true });
  });
  let sequence = 0;
  const answers = new StreamWriter();
  const send = (type: FrameType, fields: Partial<Frame>, name = "", data: Uint8Array = bytes("")): number => {
    const frame = Object.assign(new Frame(), fields);
    frame.type = type;
    frame.sequence = ++sequence;
    frame.name.set(bytes(name));
    const memory = allocate(Math.max(1, data.length));
    memory.bytes.set(data);
    frame.data.set(memory.bytes, 0, data.length);
    applier.dataAddress = memory.address;
    if (!Applier.knows(type)) return copy.take(frame, answers);
    const kept = copy.keep(frame);
    const result = kept < 0 ? kept : applier.apply(frame);
    if (result >= 0) copy.follow(frame);
    return result;
  };
  const finish = (): void => {
    while (copy.isBusy) t.equal(copy.goOn(Number.POSITIVE_INFINITY), 0);
  };
  /** The source's names of the top: this file and nothing else. */
  const names = (id: number, name: string): void => {
    const entries = new Uint8Array(64);
    const end = putEntry(entries, 0, id, DT_REG, bytes(name));
    send(FrameType.DIR_NAMES, { id: TOP });
    send(FrameType.DIR_NAMES, { id: TOP }, "", entries.subarray(0, end));
    t.equal(send(FrameType.DIR_END, { id: TOP }), 0);
    finish();
  };
  const announce = (): void => {
    send(FrameType.PLACE, { id: TOP, flags: 1 }, "top");
    send(FrameType.PLACES_END, {});
    finish();
  };
  t.equal(send(FrameType.ROOT, { id: TOP }), 0);
  return { top, copy, answers, send, names, announce, finish };
}

t.test(
  "an object that lost its last name here and is made anew under another takes what the source sends at once",
  (t) => {
    const { top, send, names, announce } = target(t);
    t.equal(send(FrameType.CREATE, { id: FILE, parent: TOP, mode: 0o100600 }, "first"), 0);
    t.equal(send(FrameType.UNLINK, { parent: TOP }, "first"), 0);
    // Its other name was made in a directory whose names were still to be sent.
    announce();
    names(FILE, "other");
    t.equal(send(FrameType.SETATTR, { id: FILE, valid: ATTR_MODE, mode: 0o640 }), 0);
    t.equal(send(FrameType.WRITE, { id: FILE, offset: 0 }, "", bytes("live")), 0);
    t.equal(statSync(join(top, "other")).mode & 0o777, 0o640);
    t.equal(readFileSync(join(top, "other"), "utf8"), "live");
    t.end();
  },
);

t.test(
  "an object that loses the one name it has here, but has others at the source, is not made anew",
  (t) => {
    const { top, copy, send, names, announce, finish } = target(t);
    t.equal(send(FrameType.CREATE, { id: FILE, parent: TOP, mode: 0o100600 }, "first"), 0);
    t.equal(send(FrameType.WRITE, { id: FILE, offset: 0 }, "", bytes("kept")), 0);
    const { ino } = statSync(join(top, "first"));
    announce();
    t.equal(send(FrameType.UNLINK, { id: FILE, parent: TOP, flags: KEEPS_OTHERS }, "first"), 0);
    names(FILE, "other");
    t.equal(readFileSync(join(top, "other"), "utf8"), "kept");
    t.equal(statSync(join(top, "other")).ino, ino);
    t.equal(send(FrameType.WRITE, { id: FILE, offset: 4 }, "", bytes(" and written")), 0);
    t.equal(copy.finish(), 0);
    finish();
    t.equal(readFileSync(join(top, "other"), "utf8"), "kept and written");
    t.equal(statSync(join(top, "other")).nlink, 1, "limbo has let go of it");
    t.end();
  },
);

t.test("limbo that cannot be opened ends the copy with its path and the cause", (t) => {
  const { top, copy, send, announce } = target(t);
  t.equal(send(FrameType.CREATE, { id: FILE, parent: TOP, mode: 0o100600 }, "first"), 0);
  announce();
  rmdirSync(join(top, ".holdfast/limbo"));
  writeFileSync(join(top, ".holdfast/limbo"), "no directory");
  t.equal(send(FrameType.UNLINK, { id: FILE, parent: TOP, flags: KEEPS_OTHERS }, "first"), -errnos.ENOTDIR);
  t.match(copy.failure, `cannot open ${top}/.holdfast/limbo: ENOTDIR`);
  t.ok(existsSync(join(top, "first")), "nothing was removed");
  t.end();
});

t.test("what was received is dealt with in a later turn: what goes wrong there ends the connection", (t) => {
  const { copy } = target(t);
  const reader = new StreamReader();
  const closed: string[] = [];
  const link = { isPaused: false, isClosed: false, heardAt: 0, close: (why: string) => closed.push(why) };
  let takes = 0;
  const taker = {
    take: (): void => {
      if (++takes === 2) throw new Error("cannot be kept");
      for (const end = monotonic() + 20; monotonic() < end; );
    },
    made: (): void => {},
  };
  const frames = new Uint8Array(1024);
  const frame = new Frame();
  frame.type = FrameType.PING;
  const end = frame.encode(frames, frame.encode(frames, 0));
  const intake = new Intake(reader, copy, taker, 1000);
  intake.take(link as unknown as Link, frames.subarray(0, end));
  t.ok(link.isPaused, "the turn is over after the first");
  intake.goOn(link as unknown as Link, 0);
  t.equal(takes, 2);
  t.same(closed, ["cannot be kept"]);
  reader.close();
  t.end();
});

t.test("what an interrupted reintegration left in limbo is found below its directories too", (t) => {
  const { top, answers, send, names, announce } = target(t);
  t.equal(send(FrameType.CREATE, { id: DIRECTORY, parent: TOP, mode: 0o040700 }, "gone"), 0);
  t.equal(send(FrameType.CREATE, { id: FILE, parent: DIRECTORY, mode: 0o100600 }, "file"), 0);
  t.equal(send(FrameType.WRITE, { id: FILE, offset: 0 }, "", bytes("kept")), 0);
  mkdirSync(join(top, ".holdfast/limbo"));
  renameSync(join(top, "gone"), join(top, ".holdfast/limbo", limboName(DIRECTORY)));
  announce();
  names(FILE, "here");
  t.equal(readFileSync(join(top, "here"), "utf8"), "kept");
  t.equal(answers.queued, 0, "nothing is asked for");
  t.end();
});

/** Turns of the loop that end as early as they may. */
function turns(t: Test, copy: TargetCopy): number {
  let count = 0;
  let failed = 0;
  for (; copy.isBusy; count++) failed ||= copy.goOn(0);
  t.equal(failed, 0);
  return count;
}

t.test(
  "a large directory is looked through in many turns, when it is announced and when nothing of it changed",
  (t) => {
    const { top, copy, send } = target(t);
    const files = 2000;
    const entries = new Uint8Array(files * 64);
    let end = 0;
    for (let file = 0; file < files; file++) {
      const name = bytes(`file-${file}`);
      t.equal(
        send(FrameType.CREATE, { id: FILE + 10 + file, parent: TOP, mode: 0o100600 }, `file-${file}`),
        0,
      );
      end = putEntry(entries, end, FILE + 10 + file, DT_REG, name);
    }
    send(FrameType.PLACE, { id: TOP, flags: 1 }, "top");
    t.equal(send(FrameType.PLACES_END, {}), 0);
    t.ok(turns(t, copy) >= files, "announced");
    send(FrameType.DIR_NAMES, { id: TOP });
    send(FrameType.DIR_NAMES, { id: TOP }, "", entries.subarray(0, end));
    t.equal(send(FrameType.DIR_END, { id: TOP }), 0);
    t.ok(turns(t, copy) >= files, "named");
    t.equal(readdirSync(top).length, files + 1, "and what is ours");
    t.end();
  },
);

t.test("a tree that was deleted is removed in many turns", (t) => {
  const { top, copy, send } = target(t);
  send(FrameType.CREATE, { id: DIRECTORY, parent: TOP, mode: 0o040700 }, "gone");
  const files = 1000;
  for (let file = 0; file < files; file++)
    send(FrameType.CREATE, { id: FILE + 10 + file, parent: DIRECTORY, mode: 0o100600 }, `file-${file}`);
  mkdirSync(join(top, ".holdfast/limbo"));
  renameSync(join(top, "gone"), join(top, ".holdfast/limbo", limboName(DIRECTORY)));
  t.equal(copy.finish(), 0);
  t.ok(turns(t, copy) >= files);
  t.same(readdirSync(join(top, ".holdfast/limbo")), []);
  t.end();
});
