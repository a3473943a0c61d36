/**
 * The guardian and a hardware watchdog. There is no such hardware in a test, and one that bit would reset the machine: a FIFO stands in for the device, and
 * what it is told is read from its other end. The calls that set a device's time are not in this test.
 */
import { spawnSync } from "node:child_process";
import {
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test as Tap } from "tap";
import { GuardianLink } from "../../core/daemon/guardian/link.ts";
import type { Armament } from "../../core/daemon/guardian/protocol.ts";
import type { WatchdogState } from "../../core/daemon/guardian/watchdog.ts";

const TIMEOUT = 200;

/** The far end of a device that is none: what was written to it. */
class StandIn {
  readonly #fd: number;
  constructor(readonly path: string) {
    spawnSync("mkfifo", [path]);
    this.#fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  }
  /** Since this was last asked. */
  heard(): string {
    const buffer = Buffer.alloc(4096);
    try {
      return buffer.toString("latin1", 0, readSync(this.#fd, buffer));
    } catch {
      return ""; // Nothing is there.
    }
  }
  async hears(word: string): Promise<void> {
    while (!this.heard().includes(word)) await Bun.sleep(20);
  }
  close(): void {
    closeSync(this.#fd);
  }
}

/** A guardian of its own, a device, and a daemon that beats. */
async function start(
  t: Tap,
): Promise<{ link: GuardianLink; device: StandIn; arm(addresses: string[]): void; beat: NodeJS.Timeout }> {
  const varDir = mkdtempSync(join(tmpdir(), "holdfast-watchdog-"));
  for (const name of ["run", "log"]) mkdirSync(join(varDir, name));
  const device = new StandIn(join(varDir, "watchdog"));
  const link = new GuardianLink(varDir);
  await link.open();
  const beat = setInterval(() => link.alive(), 20);
  t.teardown(() => {
    clearInterval(beat);
    link.removeAllListeners();
    link.farewell();
    device.close();
    rmSync(varDir, { recursive: true, force: true });
  });
  const group = { path: null, mark: `test.${process.pid}`, adopted: join(varDir, "adopted") };
  const arm = (addresses: string[]): void => {
    const armament: Armament = {
      ...{ module: "db", timeoutMs: TIMEOUT, group, addresses, mounts: [] },
      services: { permits: [], cgroups: [] },
    };
    link.arm(armament);
  };
  return { link, device, arm, beat };
}

const guard = (link: GuardianLink, device: string): Promise<WatchdogState> =>
  new Promise((told) => link.guard({ device, seconds: 4 }, told));

t.test("it is told that all is well, and disarmed at a clean end", async (t) => {
  const { link, device, arm } = await start(t);
  t.match(await guard(link, device.path), { ok: true, detail: /watchdog is armed, in its own time/ });
  await device.hears(".");
  arm([]);
  await device.hears(".");
  link.disarm("db");
  link.farewell();
  await device.hears("V");
  t.pass("the last word is the one that disarms");
});

t.test("a daemon that is gone is fenced; all is stopped then, and that is well", async (t) => {
  const { link, device, arm, beat } = await start(t);
  await guard(link, device.path);
  arm([]);
  const fenced = new Promise((told) => link.once("fenced", told));
  clearInterval(beat);
  t.equal(await fenced, "db");
  device.heard();
  await device.hears(".");
  t.pass();
});

t.test(
  "what cannot be stopped leaves it to the hardware, and no end of the guardian disarms it",
  async (t) => {
    const { link, device, arm } = await start(t);
    await guard(link, device.path);
    // Stands for whatever survives its fencing.
    arm(["no address/24"]);
    t.match(await link.fence("db"), { ok: false });
    device.heard();
    await Bun.sleep(700);
    t.equal(device.heard(), "", "not a word for longer than it takes to say one");
    arm([]);
    await device.hears(".");
    t.pass("it runs again, and can be stopped: all is well");
    arm(["no address/24"]);
    await link.fence("db");
    device.heard();
    link.farewell();
    await Bun.sleep(300);
    t.equal(device.heard(), "");
  },
);

t.test("no device, or something that is none, is said, and changes nothing else", async (t) => {
  const { link, device } = await start(t);
  t.match(await guard(link, `${device.path}0`), {
    ok: false,
    detail: /cannot be opened: is the watchdog's driver loaded.*ENOENT/,
  });
  writeFileSync(`${device.path}1`, "");
  t.match(await guard(link, `${device.path}1`), {
    ok: false,
    detail: /is no device: nothing would reset this machine/,
  });
  t.match(await guard(link, device.path), { ok: true });
  t.match(await new Promise<WatchdogState>((told) => link.guard(null, told)), { ok: true, detail: "none" });
  await device.hears("V");
});
