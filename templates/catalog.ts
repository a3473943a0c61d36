/**
 * What `module new` can start from: one table of services, a row each.
 *
 * A row names the folders (parts) that its module is made of, and the words that make it one service rather than another. What services share
 * stands in one part; what a user gets is plain files, his to change (see compose.ts).
 */
import { compose } from "./compose.ts";
import { allParts } from "./parts.ts";
import { CLOUD_ROWS } from "./providers.ts";

/** One service. */
export interface Row {
  /** What `--template` calls it. */
  name: string;
  kind: "mirror" | "farm" | "light";
  /** Where the module's nodes may run. */
  systems: readonly ("Linux" | "Windows")[];
  /** One line, without a full stop. */
  summary: string;
  /** Folders of templates/: where two hold the same file, the first one's counts; their README.md pages follow each other. */
  parts: readonly [string, ...string[]];
  /** What `{{word}}` stands for in the files of the parts. */
  words?: Readonly<Record<string, string>>;
  /** What of it was run with the real application, and where (no full stop). */
  real?: string;
  /** What of it has met a recorded stand-in only, or nothing at all (no full stop). One of the two at least is there. */
  standIn?: string;
}

/** A row with its module's files. */
export interface Template extends Row {
  /** Path to content. */
  readonly files: Readonly<Record<string, string>>;
}

const LINUX = ["Linux"] as const;
const NO_WINDOWS = "Windows, where this version does not run yet";
const DATABASE = ["shared/node_check", "shared/owner", "shared/database", "shared/mirror"] as const;
/** What of a module whose hooks its user writes was tested. */
const OWN_HOOKS = `its hooks do nothing until you fill them in, and their own test runs them; nothing of it on ${NO_WINDOWS}`;

/** An engine of containers: what is not in it is the same for all. */
const containers = (
  row: Pick<Row, "name" | "summary" | "real"> & { words: Record<string, string> },
): Row => ({
  ...row,
  kind: "mirror",
  systems: LINUX,
  parts: ["shared/containers", "shared/mirror"],
  words: { engine: row.name, ...row.words },
  standIn: "compose files have met a recorded stand-in",
});

const ROWS: readonly Row[] = [
  {
    name: "mirror",
    kind: "mirror",
    systems: ["Linux", "Windows"],
    summary: "any application: a service's name, or how it starts and stops",
    parts: ["mirror", "shared/mirror"],
    real: "as it stands, in the tests of the engine on Linux",
    standIn: `on ${NO_WINDOWS}`,
  },
  {
    name: "farm",
    kind: "farm",
    systems: ["Linux", "Windows"],
    summary: "any application on every node: a service's name, or how it starts and stops",
    parts: ["farm", "shared/starts_both", "shared/farm"],
    words: { kind: "farm" },
    standIn: OWN_HOOKS,
  },
  {
    name: "light",
    kind: "light",
    systems: ["Linux", "Windows"],
    summary: "any application on one node, watched and started again there",
    parts: ["light", "shared/starts_both", "shared/light"],
    words: { kind: "light" },
    real: "with a service of systemd and nothing else: started, killed, stopped",
    standIn: OWN_HOOKS,
  },
  {
    name: "postgresql",
    kind: "mirror",
    systems: LINUX,
    summary: "PostgreSQL, its data directory replicated",
    parts: ["postgresql", ...DATABASE],
    real: "PostgreSQL 15 of Debian 12 under pgbench: power cuts of either node and of both",
  },
  {
    name: "mariadb",
    kind: "mirror",
    systems: LINUX,
    summary: "MariaDB, its data directory replicated",
    parts: ["mariadb", ...DATABASE],
    real: "MariaDB 10.11 of Debian 12 while a client commits: a power cut, a crash, a server that hangs, a swap, another user number on the other node",
  },
  {
    name: "redis",
    kind: "mirror",
    systems: LINUX,
    summary: "Redis, every write on both disks before it is answered",
    parts: ["redis", ...DATABASE],
    real: "Redis 7.0 of Debian 12 while a client writes: a power cut, a crash while it rewrites its file, a server that hangs, a swap",
  },
  {
    name: "oracle",
    kind: "mirror",
    systems: LINUX,
    summary: "Oracle Database, its files replicated",
    parts: ["oracle", "shared/node_check", "shared/mirror"],
    standIn:
      "its hooks have met a recorded stand-in of sqlplus and lsnrctl, which answers as their manuals say, and no Oracle",
  },
  {
    name: "sqlserver",
    kind: "mirror",
    systems: LINUX,
    summary: "SQL Server, its data directory replicated",
    parts: ["sqlserver", "shared/node_check", "shared/owner", "shared/mirror"],
    standIn:
      "its hooks have met a recorded stand-in of sqlcmd and of the unit mssql-server, which answer as their manuals say, and no SQL Server",
  },
  {
    name: "nginx",
    kind: "farm",
    systems: LINUX,
    summary: "nginx on every node",
    parts: ["web_farm", "shared/node_check", "shared/farm"],
    words: {
      title: "nginx",
      program: "nginx",
      package: "nginx",
      config: "/etc/nginx/nginx.conf",
      configNote: "In `vars`: `config` and `pid`, when yours is not Debian's `/etc/nginx/nginx.conf`.",
      pid: "/run/nginx.pid",
      bin: "/usr/sbin/nginx",
      check: `\${bin} -t -q -c \${config}`,
      start: `\${bin} -c \${config}`,
      reload: "SIGHUP",
      reloadByHand: "nginx -s reload",
      quit: "SIGQUIT",
    },
    real: "nginx 1.22 of Debian 12: start, reload, stop, crash, a configuration with a fault; two nodes behind a load balancer of one's own",
  },
  {
    name: "apache",
    kind: "farm",
    systems: LINUX,
    summary: "Apache httpd on every node",
    parts: ["web_farm", "shared/node_check", "shared/farm"],
    words: {
      title: "Apache",
      program: "apache2",
      package: "apache2",
      config: "/etc/apache2",
      configNote:
        "In `vars`: `bin`, `config` and `pid`, when yours are not Debian's. Where the process is called httpd (RHEL), change its name in `lib/web_server.ts`, `hooks/prestart.ts` and `processes`.",
      pid: "/run/apache2/apache2.pid",
      bin: "/usr/sbin/apache2ctl",
      check: `APACHE_CONFDIR=\${config} \${bin} configtest`,
      // Where systemd is process 1, apache2ctl would have it start the distribution's service.
      start: `APACHE_STARTED_BY_SYSTEMD=yes APACHE_CONFDIR=\${config} \${bin} start`,
      reload: "SIGUSR1",
      reloadByHand: "apache2ctl graceful",
      quit: "SIGWINCH",
    },
    real: "Apache 2.4 of Debian 12: start, reload, stop, crash, a configuration with a fault",
  },
  {
    name: "iis",
    kind: "farm",
    systems: ["Windows"],
    summary: "IIS on every node",
    parts: ["iis", "shared/farm"],
    standIn: `its hooks have met recorded stand-ins of appcmd.exe and PowerShell, which answer as their manuals say, and no ${NO_WINDOWS}`,
  },
  {
    name: "kvm",
    kind: "mirror",
    systems: LINUX,
    summary: "a virtual machine of KVM and libvirt, its disks replicated",
    parts: ["kvm", "shared/mirror"],
    real: "libvirt 9.0 and QEMU 7.2 of Debian 12, without acceleration, while the guest counts: a swap, a restart of libvirtd, a fencing, a power cut, a paused guest",
    standIn: "with KVM itself; guests that boot by UEFI; the guest agent",
  },
  {
    name: "hyperv",
    kind: "mirror",
    systems: ["Windows"],
    summary: "a virtual machine of Hyper-V, its disks replicated",
    parts: ["hyperv", "shared/mirror"],
    standIn: `its hooks have met a recorded stand-in of Hyper-V's cmdlets, which answers as their pages say, and no ${NO_WINDOWS}`,
  },
  containers({
    name: "docker",
    summary: "containers of Docker, one or a compose file, what they keep replicated",
    words: {
      title: "Docker",
      package: "docker.io",
      storage: "`/var/lib/docker`",
      storageNote: "",
      parent: "Docker's daemon",
    },
    real: "Docker 20.10 of Debian 12 while a container counts: a swap, a fencing, a power cut, a container that is killed",
  }),
  containers({
    name: "podman",
    summary: "containers of Podman, what they keep replicated",
    words: {
      title: "Podman",
      package: "podman",
      storage: "`/var/lib/containers`",
      storageNote: " Podman's overlay driver refuses to be there; its vfs driver works.",
      parent: "Podman's monitor (conmon)",
    },
    real: "Podman 4.3 of Debian 12 while a container counts: a swap, a fencing, a power cut, a container that is killed",
  }),
  ...CLOUD_ROWS,
  {
    name: "demo",
    kind: "mirror",
    systems: LINUX,
    summary: "the application of holdfast demo: HTTP and SQLite",
    parts: ["demo"],
    real: "by holdfast demo, and under load through power cuts of either node and of both",
  },
];

/** All templates, in the order in which they are listed. Their files are made when they are asked for. */
export const TEMPLATES: readonly Template[] = ROWS.map((row) => ({
  ...row,
  get files() {
    return compose(row, allParts());
  },
}));
