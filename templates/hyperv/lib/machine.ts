/**
 * The virtual machine as Hyper-V knows it on this node. Its configuration lies in the replicated directory and is registered there, in place,
 * on the node that has the role.
 */
import { log, powershell } from "holdfast";

type Vars = Readonly<Record<string, string>>;

/** A registered machine. */
export interface Machine {
  id: string;
  /** Running, Off, Saved, Paused … (Microsoft.HyperV.PowerShell.VMState). */
  state: string;
  /** OkApplicationsHealthy, NoContact … (VMHeartbeatStatus). */
  heartbeat: string;
  /** The directory that holds its folder "Virtual Machines". */
  path: string;
}

/** The machine of that name, or null when Hyper-V does not know it here. Throws when there are several. */
export async function machineOf({ vm }: Vars): Promise<Machine | null> {
  const text =
    await powershell`ConvertTo-Json -Compress -InputObject @(Get-VM | Where-Object Name -eq ${vm} | ForEach-Object { @{
    id = [string]$_.Id; state = [string]$_.State; heartbeat = [string]$_.Heartbeat; path = [string]$_.Path } })`.text();
  const found = JSON.parse(text) as Machine[];
  if (found.length > 1)
    throw new Error(`Hyper-V knows ${found.length} machines called ${vm}: rename the others`);
  return found[0] ?? null;
}

/** Is the machine the one whose files are in the replicated directory? */
export function isInside({ directory }: Vars, path: string): boolean {
  const plain = (one: string) => one.toLowerCase().replaceAll("/", "\\").replace(/\\+$/, "");
  return `${plain(path)}\\`.startsWith(`${plain(directory!)}\\`);
}

/** Where configurations are, and where they are kept while Hyper-V forgets one. */
const places = ({ directory }: Vars) => ({
  own: `${directory}\\Virtual Machines`,
  kept: `${directory}\\Kept by Holdfast`,
});

/**
 * Takes the registration away and leaves every file: Remove-VM deletes the configuration (.vmcx, .vmgs, .vmrs), so it is
 * copied aside before, and back after. What a crash interrupts, `restoreKept` ends.
 */
export async function forget(vars: Vars, { id }: Machine): Promise<void> {
  const { own, kept } = places(vars);
  await powershell`
    New-Item -ItemType Directory -Force -Path ${kept} | Out-Null
    Copy-Item -Force -Path (Join-Path ${own} ${`${id}.*`}) -Destination ${kept}
    Get-VM -Id ${id} | Remove-VM -Force`;
  await restoreKept(vars);
}

/** Puts back what is kept where it is missing. */
export async function restoreKept(vars: Vars): Promise<void> {
  const { own, kept } = places(vars);
  await powershell`
    if (Test-Path ${kept}) {
      Get-ChildItem ${kept} | Where-Object { -not (Test-Path (Join-Path ${own} $_.Name)) } | Copy-Item -Destination ${own}
      Remove-Item -Recurse -Force ${kept}
    }`;
}

/** Registers the configuration that lies in the directory. Throws when there is none, or more than one. */
export async function register(vars: Vars): Promise<void> {
  const { own } = places(vars);
  const files = (
    await powershell`Get-ChildItem -Path ${own} -Filter '*.vmcx' | ForEach-Object FullName`.lines()
  )
    .map((line) => line.trim())
    .filter(Boolean);
  if (files.length !== 1)
    throw new Error(
      `${own} holds ${files.length} configurations (.vmcx) and should hold one: move the machine with its storage to ${vars.directory} (Move-VMStorage)`,
    );
  await powershell`Import-VM -Path ${files[0]} | Out-Null`;
}

/** What would differ on the other node, or be lost there, is refused or put right. The machine must be off. */
export async function fit(vars: Vars, { id }: Machine): Promise<void> {
  const disks = await powershell`Get-VM -Id ${id} | Get-VMHardDiskDrive | ForEach-Object Path`.lines();
  const outside = disks.map((line) => line.trim()).filter((path) => path !== "" && !isInside(vars, path));
  if (outside.length > 0)
    throw new Error(
      `disks are not in ${vars.directory}: ${outside.join(", ")}: move them there (Move-VMStorage)`,
    );
  // Only this module starts it; and an address from the pool of this node would change on the other.
  await powershell`
    Get-VM -Id ${id} | Set-VM -AutomaticStartAction Nothing -AutomaticStopAction ShutDown
    Get-VM -Id ${id} | Get-VMNetworkAdapter | Where-Object { $_.DynamicMacAddressEnabled -and $_.MacAddress -ne '000000000000' } |
      ForEach-Object { Set-VMNetworkAdapter -VMNetworkAdapter $_ -StaticMacAddress $_.MacAddress }`;
}

/** Starts it. */
export const start = ({ id }: Machine) => powershell`Get-VM -Id ${id} | Start-VM`;

/** Shuts its system down. Fails when that takes longer than `vars.shutdown`. */
export const shutDown = ({ shutdown }: Vars, { id }: Machine) =>
  powershell`Get-VM -Id ${id} | Stop-VM -Force`.timeout(shutdown!);

/** Ends it at once, as pulling the plug does. */
export async function turnOff({ vm }: Vars, { id }: Machine): Promise<void> {
  await powershell`Get-VM -Id ${id} | Stop-VM -TurnOff -Force`;
  log(`${vm}: turned off`);
}
