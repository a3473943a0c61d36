/**
 * The template kvm with libvirt and QEMU (without acceleration): a guest that counts is shut down and started elsewhere by a swap, survives a
 * restart of libvirtd, is killed at a fencing though it is no child of ours, and goes on after a power cut; no number that it told is told twice.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import t from "tap";
import { together, verifyEqual } from "../campaign/power_cuts.ts";
import { countingDisk, countingDomain } from "../fixtures/counting_guest.ts";
import { templateFiles } from "./from_template.ts";
import { createMirror, type Mirror } from "./mirror.ts";
import { ownSystem } from "./own_system.ts";
import { type Node, testbedImpossible, until } from "./testbed.ts";

t.setTimeout(200_000);
const skip =
  testbedImpossible() ??
  (existsSync("/usr/sbin/libvirtd") &&
  existsSync("/usr/bin/virsh") &&
  existsSync("/usr/bin/qemu-system-x86_64")
    ? false
    : "needs libvirt and QEMU (apt-get install libvirt-daemon libvirt-clients qemu-system-x86)");

/** The guest is root's, in no cgroup and no namespace of libvirt's own; users that Debian's own package would make. */
const LIBVIRT = `printf '%s\\n' 'stdio_handler = "file"' 'user = "root"' 'group = "root"' 'security_driver = "none"' \\
  'cgroup_controllers = []' 'namespaces = []' > /etc/libvirt/qemu.conf
id libvirt-qemu >/dev/null 2>&1 || echo 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin' >> /etc/passwd
for group in kvm libvirt-qemu; do getent group $group >/dev/null || echo "$group:x:6405$((n += 1)):" >> /etc/group; done`;

const virsh = async (node: Node, ...words: string[]): Promise<string> =>
  (await node.exec(["virsh", "--quiet", "--connect", "qemu:///system", ...words])).stdout.trim();

async function startLibvirt(node: Node): Promise<void> {
  await node.spawn(["/usr/sbin/libvirtd"], { log: `${node.bed.dir}/${node.name}.libvirtd.log` });
  const answers = async () => (await node.exec(["virsh", "version"], { mayFail: true })).status === 0;
  await until(`libvirtd of ${node.name} answers`, answers, 30_000, 100);
}

/** A node with a libvirtd of its own, whose definitions are on its disk. */
async function prepare(node: Node): Promise<void> {
  await ownSystem(node, ["/etc", "/var/lib", "/var/cache", "/var/log"]);
  await node.exec(["sh", "-ec", LIBVIRT]);
  await startLibvirt(node);
}

const processesOf = (node: Node, program: string): number[] =>
  node
    .processes()
    .filter(({ command }) => command.startsWith(program))
    .map(({ pid }) => pid);
const guestsOn = (node: Node): number[] => processesOf(node, "/usr/bin/qemu-system-x86_64 -name guest=vm1");

/** Numbers that the guest told, in order. A line that a power cut ended in the middle is none. */
function told(mirror: Mirror): number[] {
  const file = `${mirror.bed.dir}/serial`;
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, "latin1").split("\n");
  return lines.filter((line) => /^[0-9a-f]{8}$/.test(line)).map((line) => Number.parseInt(line, 16));
}

/** Waits until the guest counts on this node, and not on the other that is on. Throws when a number that was told had been lost. */
async function countsOn(mirror: Mirror, node: Node, other: Node | null): Promise<void> {
  const before = told(mirror).length;
  await until(`the guest counts on ${node.name}`, () => told(mirror).length > before + 3, 30_000);
  const numbers = told(mirror);
  const back = numbers.findIndex((number, i) => i > 0 && number <= numbers[i - 1]!);
  if (back > 0) throw new Error(`after ${numbers[back - 1]} came ${numbers[back]}`);
  if (guestsOn(node).length !== 1) throw new Error(`${guestsOn(node).length} guests on ${node.name}`);
  if (other && guestsOn(other).length > 0) throw new Error(`${other.name} runs the guest too`);
}

t.test("a guest of KVM", { skip }, async (t) => {
  const settings = ["replicate.paths.0.path=DATA", "vars.directory=DATA", "vars.shutdown=20s"];
  const files = templateFiles("kvm", [...settings, "checkers.custom.guest.interval=1s"]);
  const mirror = await createMirror({ files, prepare });
  const { n1, n2, bed } = mirror;
  await using _ = bed;
  // The guest as its administrator has it before Holdfast: its disk moved into the directory, its definition in libvirt.
  const [disk, definition] = [`${mirror.data}/disk.raw`, `${bed.dir}/vm1.xml`];
  mkdirSync(n1.on.path(mirror.data), { recursive: true });
  writeFileSync(n1.on.path(disk), countingDisk());
  writeFileSync(definition, countingDomain("vm1", disk, `${bed.dir}/serial`));
  await virsh(n1, "define", definition);
  await virsh(n1, "autostart", "vm1");

  await mirror.start("60s");
  await countsOn(mirror, n1, n2);
  t.match(await virsh(n1, "dominfo", "vm1"), /Autostart: +disable/);

  const [guest] = guestsOn(n1);
  n1.signal(processesOf(n1, "/usr/sbin/libvirtd")[0]!, "SIGKILL");
  await countsOn(mirror, n1, n2);
  await startLibvirt(n1);
  t.strictSame(
    [guestsOn(n1), await virsh(n1, "domstate", "vm1")],
    [[guest], "running"],
    "libvirtd may restart",
  );

  await n1.holdfast(["swap", "db"]);
  await mirror.settled("SECOND", "PRIM", "40s");
  await countsOn(mirror, n2, n1);
  t.equal(await virsh(n1, "list", "--all"), "", "where the role is no more, the guest is not defined");
  t.notMatch((await n1.holdfast(["log", "db"])).stdout, "destroyed", "it was shut down");

  const daemon = n2.processes().find(({ command }) => / daemon --var /.test(command))!.pid;
  n2.signal(daemon, "SIGSTOP");
  await n1.holdfast(["wait", "db", "ALONE", "--timeout", "30s"]);
  t.strictSame(guestsOn(n2), [], "fencing killed the guest");
  await countsOn(mirror, n1, n2);
  n2.signal(daemon, "SIGCONT");
  await together(mirror, n1);
  t.equal(await virsh(n2, "list", "--all"), "", "what libvirt still knew of it is gone");
  t.equal(await verifyEqual(n1), "verify: equal");

  await n1.powerCut();
  await n2.holdfast(["wait", "db", "ALONE", "--timeout", "30s"]);
  await countsOn(mirror, n2, null);
  await n1.powerOn();
  await prepare(n1);
  t.match(await virsh(n1, "list", "--all"), /vm1 +shut off/, "n1 boots with the old definition");
  await n1.startDaemon();
  await together(mirror, n2);
  t.equal(await virsh(n1, "list", "--all"), "");

  await virsh(n2, "suspend", "vm1");
  await countsOn(mirror, n2, n1);
  t.match((await n2.holdfast(["log", "db"])).stdout, "vm1 is paused", "the checker saw it: started anew");
  await n2.holdfast(["stop", "db"]);
  t.strictSame([guestsOn(n2), await virsh(n2, "list", "--all")], [[], ""], "a stop stops it");
});
