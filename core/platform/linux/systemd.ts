/**
 * The daemon, and a witness, as systemd services. See systemd.service(5), systemd.kill(5).
 */
import { spawnSync } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";

/** Our units. */
export const DAEMON_UNIT = "holdfast.service";
export const WITNESS_UNIT = "holdfast-witness.service";

/** Where a unit lies: /etc is the administrator's, and survives packages. */
export const unitFile = (unit: string): string => `/etc/systemd/system/${unit}`;

/** The text of the daemon's unit. `program` and `varDir` are absolute, `options` more words of the command. Throws on a word that a unit file cannot hold. */
export function unitText(program: string, varDir: string, options: readonly string[] = []): string {
  return `# Made by "holdfast service install"; "holdfast service uninstall" removes it.
[Unit]
Description=Holdfast: high availability of this node's modules
Documentation=https://www.freedesktop.org/software/systemd/man/systemd.service.html
# Stopped in the reverse order: our modules end cleanly while disks, network and the application's own services are still there.
# systemd takes the mounts of replicated directories for local file systems: local-fs.target keeps them until we have stopped.
After=network-online.target local-fs.target remote-fs.target nftables.service
Wants=network-online.target
RequiresMountsFor=${quoted(varDir)}
StartLimitIntervalSec=0

[Service]
ExecStart=${[program, "daemon", "--var", varDir, ...options].map(quoted).join(" ")}
# A daemon that dies is back before its guardian fences; what the hooks started goes on (it is not systemd's to kill).
Restart=always
RestartSec=50ms
KillMode=process
KillSignal=SIGTERM
TimeoutStopSec=20min
Delegate=yes
LimitMEMLOCK=infinity
LimitNOFILE=1048576
OOMScoreAdjust=-900
CPUSchedulingPolicy=other
Nice=-15
# Control groups share processor and disks first, and niceness counts only inside one: heartbeats must not queue with every other service.
# The application is not in ours. The disks not to the last: a copy of everything passes through here too.
CPUWeight=10000
IOWeight=1000
# The memory is locked and cannot be given back: the allocator need not try, hundreds of times a second.
Environment=MIMALLOC_PURGE_DELAY=-1

[Install]
WantedBy=multi-user.target
`;
}

/** The text of a witness's unit; parameters as above. It needs the network, its directory, and nothing else of the machine. */
export function witnessUnitText(program: string, varDir: string, options: readonly string[]): string {
  return `# Made by "holdfast service install --witness"; "holdfast service uninstall --witness" removes it.
[Unit]
Description=Holdfast: a witness for other clusters
After=network-online.target local-fs.target
Wants=network-online.target
RequiresMountsFor=${quoted(varDir)}
StartLimitIntervalSec=0

[Service]
ExecStart=${[program, "witness", "--var", varDir, ...options].map(quoted).join(" ")}
Restart=always
RestartSec=1s
OOMScoreAdjust=-500
Nice=-5
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths=${quoted(varDir)}
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK

[Install]
WantedBy=multi-user.target
`;
}

/** A word of a unit file: quoted, with systemd's own special characters doubled. */
function quoted(path: string): string {
  if (/[\n"\\\0]/.test(path))
    throw new Error(
      `${JSON.stringify(path)} cannot stand in a systemd unit: choose a path without quotes and backslashes`,
    );
  const safe = path.replaceAll("%", "%%").replaceAll("$", "$$$$");
  return /\s/.test(safe) ? `"${safe}"` : safe;
}

/** Does systemd run this machine? See sd_booted(3). */
export const isSystemd = (): boolean => existsSync("/run/systemd/system");

/** Runs systemctl; returns its exit status and what it printed. Throws when there is no systemctl. */
export function systemctl(...args: string[]): { status: number; output: string } {
  const { status, stdout, stderr, error } = spawnSync("systemctl", args, { encoding: "utf8" });
  if (error) throw new Error(`systemctl cannot be run: ${error.message}`);
  return { status: status ?? 1, output: `${stdout}${stderr}`.trim() };
}

/** Writes a unit, then starts it now and at every boot. Throws with what systemctl said. */
export function installService(unit: string, text: string): void {
  writeFileSync(unitFile(unit), text, { mode: 0o644 });
  for (const args of [["daemon-reload"], ["enable", "--now", unit]]) {
    const { status, output } = systemctl(...args);
    if (status !== 0) throw new Error(`systemctl ${args.join(" ")} failed: ${output}`);
  }
}

/** Stops a unit (the daemon's modules first, cleanly) and removes it. Throws with what systemctl said. */
export function uninstallService(unit: string): void {
  const { status, output } = systemctl("disable", "--now", unit);
  if (status !== 0) throw new Error(`systemctl disable failed: ${output}`);
  rmSync(unitFile(unit), { force: true });
  systemctl("daemon-reload");
}
