/** Where the kernel cannot kill a whole group at once, an application that goes on forking does not get away from its guardian. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { MARK, members } from "../../core/daemon/guardian/cgroup.ts";
import { GuardianLink } from "../../core/daemon/guardian/link.ts";

const perl = Bun.which("perl");

t.test(
  "a chain of processes, each of which ends soon",
  { skip: perl ? false : "perl is missing" },
  async (t) => {
    const varDir = mkdtempSync(join(tmpdir(), "holdfast-guardian-"));
    for (const name of ["run", "log"]) mkdirSync(join(varDir, name));
    const link = new GuardianLink(varDir);
    await link.open();
    t.teardown(() => {
      link.farewell();
      rmSync(varDir, { recursive: true, force: true });
    });
    const group = { path: null, mark: `test.${process.pid}`, adopted: join(varDir, "adopted") };
    const services = { permits: [], cgroups: [] };
    link.arm({ module: "db", timeoutMs: 60_000, group, addresses: [], mounts: [], services });
    const beating = setInterval(() => link.alive(), 50);
    t.teardown(() => clearInterval(beating));
    // Whoever is found is mostly gone when the signal comes, and has a successor. It ends by itself should the guardian fail.
    const chain =
      "my $end = time + 20; while (time < $end) { exit if fork; select undef, undef, undef, 0.004 }";
    for (let n = 0; n < 4; n++)
      Bun.spawn([perl!, "-e", chain], { env: { ...process.env, [MARK]: group.mark }, stdin: "ignore" });
    while (members(group).length === 0) await Bun.sleep(5);
    t.match(await link.fence("db"), { ok: true, detail: "" });
    await Bun.sleep(100);
    t.same(members(group), []);
  },
);
