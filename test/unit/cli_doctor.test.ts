/** What the doctor finds about the kernel's settings. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { fuseTimeouts } from "../../core/cli/doctor.ts";

t.test("trap 31b: a kernel that would abort a slow mount is told of", async (t) => {
  const settings = mkdtempSync(join(tmpdir(), "holdfast-doctor-"));
  t.teardown(() => rmSync(settings, { recursive: true }));
  t.equal(fuseTimeouts(settings).level, "good", "older kernels have none");
  writeFileSync(join(settings, "default_request_timeout"), "0\n");
  writeFileSync(join(settings, "max_request_timeout"), "0\n");
  t.equal(fuseTimeouts(settings).level, "good");
  writeFileSync(join(settings, "max_request_timeout"), "30\n");
  t.match(fuseTimeouts(settings), { level: "warning", detail: /^fs\.fuse\.max_request_timeout may abort/ });
});
