/**
 * Makes a fresh clone on a fresh machine ready: `node test/prepare.mjs npm [apt] [guests]`.
 *
 * Plain Node 20 without any package, since it is what runs before there are any. `npm` installs what package-lock.json
 * names; `apt`, as root on Debian or Ubuntu, installs the programs that tests use, their services kept from starting; `guests` those that run
 * virtual machines and Docker's containers.
 */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const POLICY = "/usr/sbin/policy-rc.d";
const SAVED_POLICY = `${POLICY}.before-holdfast`;
/** What a Debian package's service script is told: do not start anything. */
const REFUSE_TO_START = "#!/bin/sh\nexit 101\n";

/** Debian package, and a file that shows that it is there. `*` stands for any version. */
const DEBIAN_PACKAGES = {
  iproute2: "/usr/sbin/ip|/sbin/ip|/usr/bin/ip|/bin/ip",
  nftables: "/usr/sbin/nft",
  arping: "/usr/sbin/arping",
  "iputils-ping": "/usr/bin/ping|/bin/ping",
  tcpdump: "/usr/bin/tcpdump|/usr/sbin/tcpdump",
  e2fsprogs: "/usr/sbin/mkfs.ext4|/sbin/mkfs.ext4",
  // Not to run this machine: tests boot it in namespaces, and images of containers lack it.
  systemd: "/usr/lib/systemd/systemd|/lib/systemd/systemd",
  attr: "/usr/bin/setfattr",
  acl: "/usr/bin/setfacl",
  git: "/usr/bin/git",
  // Templates come over ssh too: a server of the test's own.
  "openssh-server": "/usr/sbin/sshd",
  rsync: "/usr/bin/rsync",
  sqlite3: "/usr/bin/sqlite3",
  fio: "/usr/bin/fio",
  "stress-ng": "/usr/bin/stress-ng",
  postgresql: "/usr/lib/postgresql/*/bin/initdb",
  "postgresql-contrib": "/usr/share/postgresql/*/extension/amcheck.control",
  // Applications of the templates, and a witness.
  "mariadb-server": "/usr/sbin/mariadbd",
  "redis-server": "/usr/bin/redis-server",
  "etcd-server": "/usr/bin/etcd",
  nginx: "/usr/sbin/nginx",
  apache2: "/usr/sbin/apache2",
  "busybox-static": "/usr/bin/busybox|/bin/busybox",
  podman: "/usr/bin/podman",
};
/** Large ones, for virtual machines and Docker's containers: the tests that need them are skipped elsewhere. */
const GUEST_PACKAGES = {
  "docker.io": "/usr/sbin/dockerd",
  "qemu-system-x86": "/usr/bin/qemu-system-x86_64",
  "libvirt-daemon": "/usr/sbin/libvirtd",
  "libvirt-clients": "/usr/bin/virsh",
};

/** Runs a command with its output shown; true when it succeeded. */
function run(command, args, options = {}) {
  const { status } = spawnSync(command, args, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    ...options,
  });
  return status === 0;
}

/** True when one of the paths, separated by `|`, exists. */
function exists(paths) {
  return paths.split("|").some((path) => {
    const [before, after] = path.split("*");
    if (after === undefined) return existsSync(path);
    return (
      existsSync(before) && readdirSync(before).some((version) => existsSync(join(before, version, after)))
    );
  });
}

function changedAt(path) {
  return existsSync(path) ? statSync(path).mtimeMs : 0;
}

function prepareNpm() {
  const lock = join(root, "package-lock.json");
  if (changedAt(join(root, "node_modules/.package-lock.json")) < changedAt(lock)) {
    console.log("prepare: installing the npm packages that package-lock.json names");
    const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
    // `npm ci` refuses a lock file without the packages of other platforms, which a registry's mirror may lack.
    const ci = spawnSync("npm", ["ci", ...quiet], { cwd: root, encoding: "utf8" });
    if (ci.status !== 0 && !run("npm", ["install", "--no-save", ...quiet]))
      throw new Error(`npm could not install them; is a registry reachable?\n${ci.stderr}`);
  }
  const bun = join(root, "node_modules/.bin/bun");
  const works = () => spawnSync(bun, ["--version"]).status === 0;
  // npm may refuse to run install scripts; this one fetches nothing that npm did not: it puts the binary in its place.
  if (!works())
    run(process.execPath, [join(root, "node_modules/bun/install.js")], {
      cwd: join(root, "node_modules/bun"),
    });
  if (!works()) throw new Error("Bun does not run here: remove node_modules and try again");
}

function prepareDebian(packages) {
  if (process.getuid?.() !== 0 || !existsSync("/etc/debian_version")) return;
  const missing = Object.entries(packages)
    .filter(([, path]) => !exists(path))
    .map(([name]) => name);
  if (missing.length === 0) return;
  console.log(`prepare: installing Debian packages: ${missing.join(" ")}`);
  // A run that was killed may have left our own policy: that is nobody's to keep.
  const theirs = existsSync(POLICY) && readFileSync(POLICY, "utf8") !== REFUSE_TO_START;
  if (theirs) renameSync(POLICY, SAVED_POLICY);
  try {
    writeFileSync(POLICY, REFUSE_TO_START);
    chmodSync(POLICY, 0o755);
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    run("apt-get", ["-q", "update"], { env });
    if (!run("apt-get", ["-q", "install", "-y", "--no-install-recommends", ...missing], { env }))
      console.log("prepare: apt-get failed; the tests that need these packages will be skipped or fail");
  } finally {
    rmSync(POLICY, { force: true });
    if (existsSync(SAVED_POLICY)) renameSync(SAVED_POLICY, POLICY);
  }
}

try {
  for (const part of process.argv.slice(2)) {
    if (part === "npm") prepareNpm();
    else if (part === "apt") prepareDebian(DEBIAN_PACKAGES);
    else if (part === "guests") prepareDebian(GUEST_PACKAGES);
    else throw new Error(`what is "${part}"? usage: node test/prepare.mjs npm [apt] [guests]`);
  }
} catch (error) {
  console.error(`prepare: ${error.message}`);
  process.exit(1);
}
