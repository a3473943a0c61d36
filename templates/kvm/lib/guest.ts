/**
 * The guest as libvirt knows it on this node. Only the node that has the role knows it: a definition that stayed on the other one could be
 * started there, by hand or by autostart, on disks that are not its own.
 */
import { existsSync, readFileSync } from "node:fs";
import { $, log } from "holdfast";

type Vars = Readonly<Record<string, string>>;

/** Marks a definition as one of this module's, in the metadata of the domain. */
const MARK = "urn:holdfast:module";

/** The guest's definition, the same for whichever node has the role. */
export const definitionOf = ({ directory }: Vars) => `${directory}/domain.xml`;

const virsh = $`virsh --quiet --connect qemu:///system`;

/** "running", "shut off", "paused" … and why, or null when libvirt does not know the guest here. */
export async function stateOf(vars: Vars): Promise<{ state: string; reason: string } | null> {
  const names = await $`${virsh} list --all --name`.lines();
  if (!names.includes(vars.domain!)) return null;
  const said = await $`${virsh} domstate ${vars.domain} --reason`.text();
  const [, state = said.trim(), reason = ""] = /^(.*?) \((.*)\)/.exec(said) ?? [];
  return { state, reason };
}

/** Has the guest a process here? */
export const exists = (state: string) => state !== "shut off";

/** Process id of the guest. Throws when it has none. */
export async function processOf({ domain }: Vars): Promise<number> {
  return Number(await $`cat /run/libvirt/qemu/${domain}.pid`.text());
}

/** Does the guest's process live, whatever libvirt says? */
export async function lives(vars: Vars): Promise<boolean> {
  const pid = await processOf(vars).catch(() => 0);
  if (pid === 0) return false;
  const named =
    await $`grep --quiet --text --fixed-strings guest=${vars.domain}, /proc/${pid}/cmdline`.nothrow();
  return named.exitCode === 0;
}

/** Was this module's hook the one to define the guest here? */
export async function isOurs(vars: Vars, module: string): Promise<boolean> {
  const { exitCode, stdout } = await $`${virsh} metadata ${vars.domain} ${MARK} --config`.nothrow().quiet();
  return exitCode === 0 && stdout.includes(`name="${module}"`);
}

/** Defines it from domain.xml, marks it, and keeps libvirt from starting it by itself. */
export async function define(vars: Vars, module: string): Promise<void> {
  await $`${virsh} define ${definitionOf(vars)}`;
  const mark = `<module name="${module}"/>`;
  await $`${virsh} metadata ${vars.domain} ${MARK} --key holdfast --set ${mark} --config`.quiet();
  await $`${virsh} autostart ${vars.domain} --disable`;
}

/** Takes the definition away; disks, NVRAM and domain.xml stay, and a saved state, which belongs to older disks, does not. */
export async function undefine(vars: Vars): Promise<void> {
  await $`${virsh} undefine ${vars.domain} --managed-save --snapshots-metadata --checkpoints-metadata --keep-nvram`;
}

/** Ends it at once, as pulling the plug does. */
export async function destroy(vars: Vars): Promise<void> {
  await $`${virsh} destroy ${vars.domain}`;
  log(`${vars.domain}: destroyed`);
}

/** What in the definition would lose data, or be another machine on the other node. Empty for a good one. */
export function faultsOf(vars: Vars): { errors: string[]; warnings: string[] } {
  const xml = readFileSync(definitionOf(vars), "utf8");
  const errors: string[] = [];
  const warnings: string[] = [];
  const inside = (path: string) => path.startsWith(`${vars.directory}/`);
  const name = /<name>([^<]*)<\/name>/.exec(xml)?.[1];
  if (name !== vars.domain) errors.push(`it is of ${name}, and vars.domain is ${vars.domain}`);
  if (!/<uuid>/.test(xml)) errors.push("it has no <uuid>: the guest would be another machine at each start");
  for (const [whole, attributes = ""] of xml.matchAll(/<disk\b([^>]*)>.*?<\/disk>/gs)) {
    if (/<readonly\/>/.test(whole) || /device=['"](cdrom|floppy)/.test(attributes)) continue;
    const file = /<source\b[^>]*\bfile=['"]([^'"]+)/.exec(whole)?.[1];
    const cache = /<driver\b[^>]*\bcache=['"]([^'"]+)/.exec(whole)?.[1] ?? "default";
    const other = /<source\b[^>]*\b(?:dev|pool)=['"]([^'"]+)/.exec(whole)?.[1];
    if (other !== undefined) errors.push(`disk ${other} is not a file: it is not replicated`);
    if (file !== undefined && !inside(file)) errors.push(`disk ${file} is not in ${vars.directory}`);
    if (cache === "unsafe")
      errors.push(`disk ${file}: cache="unsafe" loses what the guest was told is on disk`);
    else if (!["none", "directsync"].includes(cache))
      warnings.push(`disk ${file}: cache="none" spares this node a second copy in memory`);
  }
  for (const [whole] of xml.matchAll(/<interface\b.*?<\/interface>/gs))
    if (!/<mac\b/.test(whole))
      errors.push("a network interface has no <mac address=…>: it would change at each start");
  const nvram = /<nvram\b[^>]*>([^<]+)<\/nvram>/.exec(xml)?.[1]?.trim();
  if (nvram !== undefined && !inside(nvram)) errors.push(`the NVRAM ${nvram} is not in ${vars.directory}`);
  if (nvram === undefined && /<(loader|os firmware)\b/.test(xml) && /pflash|firmware=['"]efi/.test(xml))
    errors.push(
      `a guest with UEFI needs <nvram>${vars.directory}/nvram.fd</nvram>, or its settings stay behind`,
    );
  if (/<backend\b[^>]*type=['"]emulator/.test(xml))
    warnings.push("the emulated TPM's state is in /var/lib/libvirt/swtpm: it is not replicated");
  return { errors, warnings };
}

/** Is the definition there? */
export const hasDefinition = (vars: Vars) => existsSync(definitionOf(vars));

/** What libvirt knows of it, with the secrets in it. */
export const dump = (vars: Vars) => $`${virsh} dumpxml ${vars.domain} --inactive --security-info`.text();

/** Boots it. A state that was saved on this node belongs to older disks, and is dropped. */
export const start = ({ domain }: Vars) => $`${virsh} start ${domain} --force-boot`;

/** Presses its power button. */
export const shutDown = ({ domain }: Vars) => $`${virsh} shutdown ${domain}`;

/** Does libvirt answer? */
export const answers = () => $`${virsh} version`.quiet();

/** True when the guest's agent answers. */
export async function agentAnswers(vars: Vars): Promise<boolean> {
  const ping = '{"execute":"guest-ping"}';
  return (
    (await $`${virsh} qemu-agent-command ${vars.domain} ${ping} --timeout 5`.nothrow().quiet()).exitCode === 0
  );
}
