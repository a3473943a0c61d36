/** The systemd unit, judged by systemd itself where it is installed. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { DAEMON_UNIT, unitText, WITNESS_UNIT, witnessUnitText } from "../../core/platform/linux/systemd.ts";

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

t.test("the watchdog's options, and a witness's place, stand in their units", async (t) => {
  const words = ["--watchdog", "/dev/watchdog", "--watchdog-time", "10s"];
  t.match(
    unitText("/usr/bin/holdfast", "/var/lib/holdfast", words),
    /^ExecStart=\/usr\/bin\/holdfast daemon --var \/var\/lib\/holdfast --watchdog \/dev\/watchdog --watchdog-time 10s$/m,
  );
  const witness = witnessUnitText("/usr/bin/holdfast", "/srv/witness", [
    "--address",
    "10.0.0.9",
    "--port",
    "9452",
  ]);
  t.match(
    witness,
    /^ExecStart=\/usr\/bin\/holdfast witness --var \/srv\/witness --address 10.0.0.9 --port 9452$/m,
  );
  t.match(witness, /^ReadWritePaths=\/srv\/witness$/m);
});

const analyzer = spawnSync("systemd-analyze", ["--version"]).status === 0;
t.test(
  "systemd-analyze finds nothing wrong",
  { skip: analyzer ? false : "systemd-analyze is not installed" },
  async (t) => {
    const directory = mkdtempSync(join(tmpdir(), "holdfast-unit-"));
    t.teardown(() => rmSync(directory, { recursive: true }));
    const units = {
      [DAEMON_UNIT]: unitText("/bin/true", "/var/lib"),
      [WITNESS_UNIT]: witnessUnitText("/bin/true", "/var/lib", []),
    };
    for (const [name, text] of Object.entries(units)) {
      const file = join(directory, name);
      writeFileSync(file, text);
      const { stderr, status } = spawnSync("systemd-analyze", ["verify", "--man=no", file], {
        encoding: "utf8",
      });
      t.equal(status, 0, stderr);
      t.notMatch(stderr, /holdfast.*\.service.*(Unknown|Failed to parse|ignoring)/i);
    }
  },
);
