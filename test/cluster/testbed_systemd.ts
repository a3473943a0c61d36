/**
 * A node of the testbed run by the real systemd: process 1 of namespaces inside the node's, with copies of the units that order a shutdown.
 *
 * The host's units, generators and configuration are covered, and so are its devices, its cgroups and /proc/sys: what
 * systemd does at boot and at shutdown reaches nothing outside. With the testbed everything is gone.
 */
import { existsSync, readFileSync } from "node:fs";
import { type Node, testbedImpossible, until } from "./testbed.ts";
import { childOf, run } from "./testbed_machine.ts";

/** Debian's place, and that of systems whose /lib is /usr/lib. */
const PROGRAMS = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
/** Everything that a boot to multi-user.target and a poweroff order by; the distribution's own texts. */
const TARGETS =
  "local-fs-pre local-fs remote-fs-pre remote-fs sysinit sockets timers paths slices basic network network-online multi-user umount shutdown final poweroff";
const UNITS = [...TARGETS.split(" ").map((name) => `${name}.target`), "systemd-poweroff.service"];
const DEVICES = "null zero full random urandom tty fuse";

const program = (): string | undefined => PROGRAMS.find((path) => existsSync(path));

/** Why systemd cannot be booted here, or null: for `t.skip`. */
export function systemdImpossible(): string | null {
  const reason = testbedImpossible();
  if (reason !== null) return reason;
  const path = program();
  if (path === undefined || !Bun.which("systemctl")) return "systemd is not installed";
  const units = `${path.slice(0, -"systemd".length)}system`;
  const missing = UNITS.find((unit) => !existsSync(`${units}/${unit}`));
  if (missing !== undefined) return `systemd is installed without ${missing}`;
  if (!existsSync("/dev/fuse")) return "FUSE is missing (/dev/fuse)";
  if (!/^\S+ \S+ cgroup2 /m.test(readFileSync("/proc/self/mounts", "utf8"))) return "there is no cgroup v2";
  return null;
}

/** Runs in the new namespaces and becomes systemd. `kmsg` is where systemd's own log goes. */
function bootScript(systemd: string, kmsg: string, files: Readonly<Record<string, string>>): string {
  const units = `${systemd.slice(0, -"systemd".length)}system`;
  return [
    "set -e",
    "mount -t proc proc /proc",
    "mount -t tmpfs tmpfs /run",
    "mkdir -p /run/etc /run/units /run/nothing /run/dev/shm /run/dev/pts",
    `for unit in ${UNITS.join(" ")}; do cp -L ${units}/$unit /run/units/; done`,
    "cp -a /etc/. /run/etc",
    // What this machine would mount and start is nothing to us.
    "rm -rf /run/etc/systemd /run/etc/fstab",
    "mkdir -p /run/etc/systemd/system",
    // Versions differ in whether their log calls units by name.
    "printf '[Manager]\\nStatusUnitFormat=name\\n' > /run/etc/systemd/system.conf",
    "ln -s multi-user.target /run/units/default.target",
    `for device in ${DEVICES}; do cp -a /dev/$device /run/dev/; done`,
    `ln -s ${kmsg} /run/dev/kmsg`,
    ...Object.entries(files).flatMap(([path, text]) => [
      `mkdir -p $(dirname /run${path})`,
      `printf %s '${text.replaceAll("'", `'\\''`)}' > /run${path}`,
    ]),
    "mount --bind /run/etc /etc",
    `mount --bind /run/units ${units}`,
    `mount --bind /run/nothing ${units}-generators`,
    "while umount -l /sys/fs/cgroup 2>/dev/null; do :; done",
    "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
    "mount --bind /proc/sys /proc/sys",
    "mount -o remount,bind,ro /proc/sys",
    "mount --bind /run/dev /dev",
    // By `container` systemd knows that the kernel, its disks and its swap are not its own.
    `exec env -i container=holdfast PATH=/usr/sbin:/usr/bin:/sbin:/bin ${systemd} --system --log-level=info --log-target=kmsg --show-status=0`,
  ].join("\n");
}

/** A node whose process 1 is systemd. */
export class Systemd {
  readonly #off: Promise<number>;

  private constructor(
    readonly node: Node,
    /** Process 1, as seen from here. */
    readonly pid: number,
    off: Promise<number>,
  ) {
    this.#off = off;
  }

  /** What systemd said. Outside the node, so that it is there afterwards. */
  get log(): string {
    return readFileSync(logOf(this.node), "utf8");
  }

  /** Boots a node of the testbed, which must be on, to multi-user.target; `files` (below /etc) are made before. */
  static async boot(node: Node, files: Readonly<Record<string, string>> = {}): Promise<Systemd> {
    const systemd = program();
    if (systemd === undefined) throw new Error("systemd is not installed");
    const kmsg = `${node.bed.dir}/${node.name}.kmsg`;
    // It reads beyond the shutdown, in which systemd kills every process of its own, and never sees an end: a pipe without a reader holds up process 1.
    await node.exec(["bash", "-c", `rm -f ${kmsg}; mkfifo ${kmsg}`]);
    await node.spawn(["bash", "--norc", "-c", `exec cat <> ${kmsg}`], { log: logOf(node) });
    const namespaces = "--mount --pid --cgroup --uts --fork --kill-child --propagation private";
    const cgroup = `cd "$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)" && mkdir -p systemd && echo 0 > systemd/cgroup.procs && cd /`;
    const script = bootScript(systemd, kmsg, files);
    const boot = `${cgroup} && exec unshare ${namespaces} bash --norc -c "$1"`;
    const outer = await node.spawn(["bash", "--norc", "-c", boot, "boot", script], { log: logOf(node) });
    let ended = false;
    const off = outer.exited.finally(() => (ended = true));
    const said = (): string => readFileSync(logOf(node), "utf8");
    try {
      const pid = await until("systemd is process 1", () => ended || becameSystemd(outer.pid));
      if (typeof pid !== "number") throw new Error("it ended at once");
      const booted = new Systemd(node, pid, off);
      const isRunning = async (): Promise<boolean> => {
        if (ended) throw new Error("it ended at once");
        const state = await booted.exec(["systemctl", "is-system-running"]).catch(String);
        return state === "running\n";
      };
      await until("systemd has booted", isRunning, 30_000);
      return booted;
    } catch (error) {
      throw new Error(`systemd did not boot: ${(error as Error).message}; it said:\n${said()}`);
    }
  }

  /** Runs a command in systemd's namespaces and returns what it prints; throws with it when it fails. */
  exec(argv: readonly string[]): Promise<string> {
    const enter = ["nsenter", "--target", `${this.pid}`, "--mount", "--net", "--pid", "--cgroup", "--uts"];
    const environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"];
    return run([...enter, "--wdns=/", "--", ...environment, ...argv]);
  }

  /** Waits until the machine is off and everything that systemd said is in the log; returns the status of its namespaces. */
  async isOff(): Promise<number> {
    const status = await this.#off;
    await until("systemd's last word", () => this.log.includes("Powering off"));
    return status;
  }

  /** A property of a unit. */
  async show(unit: string, property: string): Promise<string> {
    return (await this.exec(["systemctl", "show", "--value", "-p", property, unit])).trim();
  }
}

/** The child of a shell that goes through others before. */
function becameSystemd(parent: number): number | null {
  const pid = childOf(parent);
  if (pid === null) return null;
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8") === "systemd\n" ? pid : null;
  } catch {
    return null;
  }
}

const logOf = (node: Node): string => `${node.bed.dir}/${node.name}.systemd.log`;
