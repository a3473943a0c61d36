/** How SECOND reaches objects: when there are fewer descriptors than it thought, and by names that nobody told. */
import { linkSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { ReplicaObjects } from "../../core/filesystem/replica/replica_objects.ts";
import { O_DIRECTORY, O_RDONLY } from "../../core/platform/linux/constants.ts";
import { allocate, open, prlimit, pwrite } from "../../core/platform/linux/libc.ts";
import { getU64, setU64 } from "../../core/platform/linux/memory.ts";

const RLIMIT_NOFILE = 7;
const COUNT = 2000;
const name = (id: number): Uint8Array => new TextEncoder().encode(`f${id}`);

/** A directory of files that are introduced, and closed: 2 … COUNT + 1. */
function prepare(t: Test): { directory: string; objects: ReplicaObjects } {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-objects-"));
  const objects = new ReplicaObjects();
  t.teardown(() => {
    objects.clear();
    rmSync(directory, { recursive: true, force: true });
  });
  objects.introduce(1, 0, new Uint8Array(0), open(directory, O_RDONLY | O_DIRECTORY));
  for (let id = 2; id < COUNT + 2; id++) {
    writeFileSync(join(directory, `f${id}`), "");
    objects.introduce(id, 1, name(id), -1);
  }
  return { directory, objects };
}

const skip = process.getuid?.() === 0 ? false : "needs root: files are opened by handle";
const opened = (): number => readdirSync("/proc/self/fd").length;

/** While this runs there is room for some descriptors only, fewer than there are files. */
function withFewDescriptors(act: () => void): void {
  const limits = allocate(16);
  prlimit(0, RLIMIT_NOFILE, 0, limits.address);
  const soft = getU64(limits.view, 0);
  setU64(limits.view, 0, opened() + 100);
  if (prlimit(0, RLIMIT_NOFILE, limits.address, 0) < 0) throw new Error("the limit cannot be lowered");
  try {
    act();
  } finally {
    setU64(limits.view, 0, soft);
    prlimit(0, RLIMIT_NOFILE, limits.address, 0);
  }
}

t.test("what the kernel refuses to open makes room by itself", (t) => {
  const { objects } = prepare(t);
  const failed: number[] = [];
  withFewDescriptors(() => {
    for (let id = 2; id < COUNT + 2; id++) {
      objects.begin();
      const fd = objects.fd(id);
      if (fd < 0 || objects.fd(1) < 0) failed.push(fd);
    }
  });
  t.same(failed.slice(0, 3), []);
  t.end();
});

t.test("what the source forgot is not kept in memory, also when not all that is known is open", async (t) => {
  const { objects } = prepare(t);
  const forgotten: WeakRef<object>[] = [];
  withFewDescriptors(() => {
    for (let id = 2; id < COUNT + 2; id++) {
      objects.begin();
      if (objects.fd(id) < 0) throw new Error("not opened");
    }
    for (let id = COUNT + 2; id < 10 * COUNT; id++) {
      forgotten.push(new WeakRef(objects.introduce(id, 1, name(id), -1)));
      objects.forget(id - COUNT);
    }
  });
  await Bun.sleep(10);
  Bun.gc(true);
  const kept = forgotten.filter((object) => object.deref() !== undefined).length;
  t.ok(kept < COUNT + 100, `${kept} of ${forgotten.length} are kept`);
});

t.test("a file that lost the name that is known, and has another, need not stay open", { skip }, (t) => {
  const { directory, objects } = prepare(t);
  objects.isSettled = true;
  const before = opened();
  for (let id = 2; id < COUNT + 2; id++) {
    linkSync(join(directory, `f${id}`), join(directory, `other${id}`));
    objects.begin();
    objects.detach(objects.get(id)!);
    rmSync(join(directory, `f${id}`));
  }
  objects.begin();
  t.ok(opened() - before < COUNT / 2 + 100, `${opened() - before} are open of ${COUNT}`);
  t.equal(objects.get(2)!.fd, -1, "the first is closed");
  t.equal(objects.losesName(2), 0);
  rmSync(join(directory, "other2"));
  const byte = allocate(1);
  byte.bytes[0] = 65;
  t.equal(pwrite(objects.fd(2), byte.address, 1, 0), 1, "it was opened before its last name went");
  t.equal(pwrite(objects.fd(3), byte.address, 1, 0), 1);
  t.equal(readFileSync(join(directory, "other3"), "utf8"), "A", "another one by the name that nobody told");
  t.end();
});
