/**
 * libvirt and QEMU on the nodes of a mirror, and a guest that counts: each number is on both disks before it is told outside.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { countingDisk, countingDomain } from "../fixtures/counting_guest.ts";
import { templateFiles } from "./from_template.ts";
import { createMirror, type Mirror } from "./mirror.ts";
import { ownSystem } from "./own_system.ts";
import { type Node, testbedImpossible, until } from "./testbed.ts";

const QEMU = "/usr/bin/qemu-system-x86_64";

/** Why a guest cannot run here, or null: for `t.skip`. */
export function guestImpossible(): string | null {
  const missing = ["/usr/sbin/libvirtd", "/usr/bin/virsh", QEMU].find((path) => !existsSync(path));
  return missing === undefined
    ? testbedImpossible()
    : `needs ${missing} (apt-get install libvirt-daemon libvirt-clients qemu-system-x86)`;
}

/** The guest is root's, in no cgroup and no namespace of libvirt's own; users that Debian's own package would make. */
const LIBVIRT = `printf '%s\\n' 'stdio_handler = "file"' 'user = "root"' 'group = "root"' 'security_driver = "none"' \\
  'cgroup_controllers = []' 'namespaces = []' > /etc/libvirt/qemu.conf
id libvirt-qemu >/dev/null 2>&1 || echo 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin' >> /etc/passwd
for group in kvm libvirt-qemu; do getent group $group >/dev/null || echo "$group:x:6405$((n += 1)):" >> /etc/group; done`;

export const virsh = async (node: Node, ...words: string[]): Promise<string> =>
  (await node.exec(["virsh", "--quiet", "--connect", "qemu:///system", ...words])).stdout.trim();

export async function startLibvirt(node: Node): Promise<void> {
  await node.spawn(["/usr/sbin/libvirtd"], { log: `${node.bed.dir}/${node.name}.libvirtd.log` });
  const answers = async () => (await node.exec(["virsh", "version"], { mayFail: true })).status === 0;
  await until(`libvirtd of ${node.name} answers`, answers, 30_000, 100);
}

/** A node with a libvirtd of its own, whose definitions are on its disk. */
export async function prepare(node: Node): Promise<void> {
  await ownSystem(node, ["/etc", "/var/lib", "/var/cache", "/var/log"]);
  await node.exec(["sh", "-ec", LIBVIRT]);
  await startLibvirt(node);
}

export const processesOf = (node: Node, program: string): number[] =>
  node
    .processes()
    .filter(({ command }) => command.startsWith(program))
    .map(({ pid }) => pid);
export const guestsOn = (node: Node): number[] => processesOf(node, `${QEMU} -name guest=vm1`);

/** Numbers that the guest told, in order. A line that a power cut ended in the middle is none. */
export function told(mirror: Mirror): number[] {
  const file = `${mirror.bed.dir}/serial`;
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, "latin1").split("\n");
  return lines.filter((line) => /^[0-9a-f]{8}$/.test(line)).map((line) => Number.parseInt(line, 16));
}

/** Waits until the guest counts on this node, and not on the other that is on. Throws when a number that was told had been lost. */
export async function countsOn(mirror: Mirror, node: Node, other: Node | null): Promise<void> {
  const before = told(mirror).length;
  await until(`the guest counts on ${node.name}`, () => told(mirror).length > before + 3, 30_000);
  const numbers = told(mirror);
  const back = numbers.findIndex((number, i) => i > 0 && number <= numbers[i - 1]!);
  if (back > 0) throw new Error(`after ${numbers[back - 1]} came ${numbers[back]}`);
  if (guestsOn(node).length !== 1) throw new Error(`${guestsOn(node).length} guests on ${node.name}`);
  if (other && guestsOn(other).length > 0) throw new Error(`${other.name} runs the guest too`);
}

/** A mirror for the guest, which n1 has as its administrator had it before Holdfast: its disk moved into the directory, its definition in libvirt. */
export async function createGuestMirror(): Promise<Mirror> {
  const settings = ["replicate.paths.0.path=DATA", "vars.directory=DATA", "vars.shutdown=20s"];
  const files = templateFiles("kvm", [...settings, "checkers.custom.guest.interval=1s"]);
  // An emulated processor beside it: what a server without a witness has.
  const mirror = await createMirror({ files, prepare, heartbeat: "{ interval: 200ms, timeout: 3s }" });
  const { n1, bed } = mirror;
  try {
    const [disk, definition] = [`${mirror.data}/disk.raw`, `${bed.dir}/vm1.xml`];
    mkdirSync(n1.on.path(mirror.data), { recursive: true });
    writeFileSync(n1.on.path(disk), countingDisk());
    writeFileSync(definition, countingDomain("vm1", disk, `${bed.dir}/serial`));
    await virsh(n1, "define", definition);
    await virsh(n1, "autostart", "vm1");
    return mirror;
  } catch (error) {
    await bed.destroy();
    throw error;
  }
}
