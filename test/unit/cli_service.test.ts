/** The systemd unit, judged by systemd itself where it is installed. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { unitText } from "../../core/platform/linux/systemd.ts";

t.test("trap 35: systemd does not kill what the hooks started", async (t) => {
  const unit = unitText("/usr/local/bin/holdfast", "/var/lib/holdfast");
  t.match(unit, /^KillMode=process$/m);
  t.match(unit, /^ExecStart=\/usr\/local\/bin\/holdfast daemon --var \/var\/lib\/holdfast$/m);
  t.match(unit, /^Restart=always$/m);
});

t.test("trap 23: the machine's shutdown stops the modules before disks and network", async (t) => {
  const after = /^After=(.*)$/m.exec(unitText("/usr/local/bin/holdfast", "/var/lib/holdfast"))?.[1] ?? "";
  for (const unit of ["network-online.target", "local-fs.target", "remote-fs.target"])
    t.ok(after.split(" ").includes(unit), unit);
});

t.test("paths are quoted as systemd wants, or refused", async (t) => {
  t.match(
    unitText("/opt/hold fast/holdfast", "/srv/100%"),
    /^ExecStart="\/opt\/hold fast\/holdfast" daemon --var \/srv\/100%%$/m,
  );
  t.throws(() => unitText("/bin/holdfast", '/srv/"x"'), /cannot stand in a systemd unit/);
});

const analyzer = spawnSync("systemd-analyze", ["--version"]).status === 0;
t.test(
  "systemd-analyze finds nothing wrong",
  { skip: analyzer ? false : "systemd-analyze is not installed" },
  async (t) => {
    const directory = mkdtempSync(join(tmpdir(), "holdfast-unit-"));
    t.teardown(() => rmSync(directory, { recursive: true }));
    const file = join(directory, "holdfast.service");
    writeFileSync(file, unitText("/bin/true", "/var/lib"));
    const { stderr, status } = spawnSync("systemd-analyze", ["verify", "--man=no", file], {
      encoding: "utf8",
    });
    t.equal(status, 0, stderr);
    t.notMatch(stderr, /holdfast\.service.*(Unknown|Failed to parse|ignoring)/i);
  },
);
