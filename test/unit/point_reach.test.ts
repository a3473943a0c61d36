/** Which of the objects that a durable point is about must be reached on SECOND, and which are gone. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { ReplicaObjects } from "../../core/filesystem/replica/replica_objects.ts";
import { ReplicaReach } from "../../core/filesystem/replica/replica_reach.ts";
import { O_DIRECTORY, O_RDONLY } from "../../core/platform/linux/constants.ts";
import { errnos } from "../../core/platform/linux/errno.ts";
import { open } from "../../core/platform/linux/libc.ts";

t.test(
  "trap 3: what was put aside to make room is synced with everything; what lost its last name is gone",
  async (t) => {
    const directory = mkdtempSync(join(tmpdir(), "holdfast-reach-"));
    t.teardown(() => rmSync(directory, { recursive: true, force: true }));
    const objects = new ReplicaObjects();
    t.teardown(() => objects.clear());
    const reach = new ReplicaReach(objects);
    const name = (text: string): Uint8Array => new TextEncoder().encode(text);
    objects.introduce(1, 0, new Uint8Array(0), open(directory, O_RDONLY | O_DIRECTORY));
    for (const [id, text] of [
      [2, "kept"],
      [3, "removed"],
    ] as const) {
      writeFileSync(join(directory, text), text);
      objects.introduce(id, 1, name(text), -1);
    }
    t.ok(reach.open(2)! >= 0);
    objects.forget(2);
    t.equal(reach.open(2), -errnos.ENOENT, "it has a name, but nobody knows which");
    objects.detach(objects.get(3)!);
    objects.forget(3);
    t.equal(reach.open(3), null, "nothing is left of it");
    objects.introduce(2, 1, name("kept"), -1);
    t.ok(reach.open(2)! >= 0, "introduced again, it is reached again");
  },
);
