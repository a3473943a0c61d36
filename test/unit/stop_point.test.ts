/** Trap 12: the border between what a module changed and what somebody changed after it was stopped. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { isLater, markStop, stopPoint, timeOf } from "../../core/filesystem/copy/stop_point.ts";
import { O_DIRECTORY, O_RDONLY } from "../../core/platform/linux/constants.ts";
import { close, open } from "../../core/platform/linux/libc.ts";

t.test(
  "trap 12: what is changed at once after the stop is later than it, what was changed just before is not",
  async (t) => {
    const path = mkdtempSync(join(tmpdir(), "holdfast-stop-"));
    const root = open(path, O_RDONLY | O_DIRECTORY);
    t.teardown(() => {
      close(root);
      rmSync(path, { recursive: true });
    });
    let missed = 0;
    let mistaken = 0;
    for (let round = 0; round < 100; round++) {
      const before = timeOf(root);
      rmSync(join(path, ".holdfast/stopped"), { force: true });
      markStop([path]);
      const point = stopPoint(root)!;
      writeFileSync(join(path, "file"), "changed behind our back");
      if (!isLater(timeOf(root), point)) missed++;
      if (isLater(before, point)) mistaken++;
    }
    t.equal(missed, 0, "changes at once after the stop that are not seen");
    t.equal(mistaken, 0, "changes just before it that are taken for such");
  },
);
