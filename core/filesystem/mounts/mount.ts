/**
 * The mount itself: made over the replicated directory, flushed once a second, taken away without losing a page.
 *
 * The thread that serves a mount must never wait for it: what touches the mount (flushing, unmounting) runs in the pool
 * while the loop goes on answering, and processes that use it are found without a stat.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import {
  AT_STATX_FORCE_SYNC,
  MS_NODEV,
  MS_NOEXEC,
  MS_NOSUID,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NONBLOCK,
  O_PATH,
  O_RDWR,
  STATX_BASIC_STATS,
} from "../../platform/linux/constants.ts";
import { check, errnos } from "../../platform/linux/errno.ts";
import * as libc from "../../platform/linux/libc.ts";
import type { Memory } from "../../platform/linux/memory.ts";
import type { Completion, Pool } from "../loop/pool.ts";
import { Job } from "../loop/pool.ts";
import { STATFS, scratch, statAddress, statfsAddress } from "../objects/places.ts";
import { MOUNT_SOURCE, unmountDead } from "./dead_mounts.ts";
import { mountsBelow, topMountAt } from "./mount_table.ts";

const CONNECTIONS = "/sys/fs/fuse/connections";
const STATFS_FLAGS = 80;
/* What a pool job of the mount was about. */
const FLUSHED = 1;
const UNMOUNTED = 2;

/** A process that keeps a mount busy, and through what. */
export interface MountHolder {
  pid: number;
  command: string;
  file: string;
}

/** A FUSE mount of this process. */
export class FuseMount implements Completion {
  /** `null` while nothing was asked or it is under way; then 0, or -EBUSY and the like. */
  unmountResult: number | null = null;
  private readonly pathText: Memory;
  private flushing = false;
  private unmountWanted = false;
  private unmounted = false;
  /**
   * Keeps the mount busy, so that nobody but us unmounts it while its application holds nothing open, which would then write to the directory
   * below: systemd at shutdown, an administrator's umount(8). With O_PATH nothing is asked of the server. -1: let go.
   */
  private hold: number;

  private constructor(
    readonly path: string,
    /** The FUSE descriptor: read requests from it. */
    readonly fd: number,
    /** The minor number of the mount's device, by which the kernel names the connection. */
    readonly connection: number,
    private readonly pool: Pool,
  ) {
    this.pathText = libc.cString(path);
    this.hold = check(libc.open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), `cannot hold the mount of ${path}`);
  }

  /**
   * Mounts over `path`, whose directory is open as `rootFd` since before. A dead mount of a killed process must have been cleared
   * with `clearDeadMount`. Throws, naming what is in the way.
   */
  static make(path: string, rootFd: number, pool: Pool): FuseMount {
    const below = mountsBelow(path);
    if (below.length > 0)
      throw new Error(
        `${path} cannot be replicated: other file systems are mounted inside it (${below.join(", ")}); unmount them or replicate them as paths of their own`,
      );
    const fd = check(
      libc.open("/dev/fuse", O_RDWR | O_NONBLOCK | O_CLOEXEC),
      "cannot open /dev/fuse; load the module with: modprobe fuse",
    );
    check(libc.fstatfs(rootFd, statfsAddress), `cannot read the file system of ${path}`);
    // What the disk forbids (set-user-id programs, devices) stays forbidden through the mount.
    const flags = scratch.view.getUint32(STATFS + STATFS_FLAGS, true) & (MS_NOSUID | MS_NODEV | MS_NOEXEC);
    const options = `fd=${fd},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions`;
    const mounted = libc.mount(MOUNT_SOURCE, path, "fuse.holdfast", flags, options);
    if (mounted < 0) libc.close(fd);
    check(mounted, `cannot mount over ${path}; this needs root, or a user namespace that may open /dev/fuse`);
    const entry = topMountAt(path);
    if (entry === undefined) throw new Error(`${path} was mounted, and is not in /proc/self/mountinfo`);
    raiseDirtyLimit(entry.device);
    return new FuseMount(path, fd, Number(entry.device.split(":")[1]), pool);
  }

  /** Takes over a mount that a former process made, whose descriptor was kept. Throws when `path` is not mounted. */
  static adopt(path: string, fd: number, pool: Pool): FuseMount {
    const entry = topMountAt(path);
    if (entry?.source !== MOUNT_SOURCE)
      throw new Error(`${path} is not mounted by Holdfast: nothing to take over`);
    return new FuseMount(path, fd, Number(entry.device.split(":")[1]), pool);
  }

  /**
   * Once a second: has the kernel hand over pages that nobody synced, so that the loss of this node costs at most that second.
   * sync(2) alone would leave them in the cache for 30 seconds.
   */
  flush(): void {
    if (this.flushing || this.unmountWanted) return;
    this.flushing = this.pool.submit(Job.SYNC_PATH, -1, 0, 0, this.pathText.address, this, FLUSHED);
  }

  /**
   * Begins to unmount: flushes everything, which the loop must go on serving. The outcome appears in `unmountResult`: 0 when nobody
   * uses the mount any more. Another mount namespace (a container's) may keep an idle copy of it: that one dies with the descriptor.
   */
  startUnmount(): void {
    this.unmountResult = null;
    this.unmountWanted = true;
    this.letGo();
    if (this.unmounted) this.finish(0);
    else if (!this.flushing) this.submit(Job.SYNC_PATH, FLUSHED);
  }

  private submit(job: number, cookie: number): void {
    const taken = this.pool.submit(job, -1, 0, 0, this.pathText.address, this, cookie);
    if (!taken) this.finish(-errnos.EAGAIN);
  }

  /** The pool did what was asked. */
  completed(cookie: number, result: number): void {
    if (cookie === UNMOUNTED) this.finish(result);
    else {
      this.flushing = false;
      // Flushed first: where a copy of the mount stays in another namespace, unmounting ours writes nothing out.
      if (this.unmountWanted) this.submit(Job.UMOUNT, UNMOUNTED);
    }
  }

  private finish(result: number): void {
    this.unmounted ||= result === 0;
    // A process in another namespace may have files open: unmounting here did not ask it.
    this.unmountResult = this.unmounted && this.holders().length > 0 ? -errnos.EBUSY : result;
    this.unmountWanted = this.unmountResult === 0;
  }

  /** Ends the connection at once: all requests fail, pages not handed over are lost. The mount itself stays, dead. Throws. */
  abort(): void {
    this.letGo();
    abortConnection(this.connection);
  }

  private letGo(): void {
    if (this.hold >= 0) libc.close(this.hold);
    this.hold = -1;
  }

  /** Processes, in whatever mount namespace, that keep the mount busy: an open file, the current directory, a mapping. */
  holders(): MountHolder[] {
    const holders: MountHolder[] = [];
    const seen = new Map<string, MountCopy[]>();
    for (const entry of readdirSync("/proc")) {
      const pid = Number(entry);
      if (!Number.isInteger(pid) || pid === process.pid) continue;
      const namespace = linkOf(`/proc/${pid}/ns/mnt`);
      const copies = seen.get(namespace) ?? this.copiesIn(pid);
      seen.set(namespace, copies);
      const file = fileInside(pid, copies);
      if (file !== null) holders.push({ pid, command: textOf(`/proc/${pid}/comm`).trim(), file });
    }
    return holders;
  }

  /** This mount and its copies in the mount namespace of a process. */
  private copiesIn(pid: number): MountCopy[] {
    const fields = textOf(`/proc/${pid}/mountinfo`)
      .split("\n")
      .map((line) => line.split(" "));
    return fields
      .filter((field) => field[2] === `0:${this.connection}`)
      .map((field) => ({ id: field[0] ?? "", path: field[4] ?? "" }));
  }
}

/** The mount as one namespace knows it. */
interface MountCopy {
  id: string;
  path: string;
}

/** The first file of the process in one of the mounts. Only names and numbers are compared: a stat would ask this very server. */
function fileInside(pid: number, copies: readonly MountCopy[]): string | null {
  if (copies.length === 0) return null;
  for (const fd of namesIn(`/proc/${pid}/fd`)) {
    const info = textOf(`/proc/${pid}/fdinfo/${fd}`);
    if (copies.some(({ id }) => info.includes(`mnt_id:\t${id}\n`))) return linkOf(`/proc/${pid}/fd/${fd}`);
  }
  const inside = (file: string): boolean =>
    copies.some(({ path }) => file === path || file.startsWith(`${path}/`));
  const links = ["cwd", "root", "exe"].map((link) => linkOf(`/proc/${pid}/${link}`));
  const mapped = textOf(`/proc/${pid}/maps`)
    .split("\n")
    .map((line) => line.slice(73));
  return [...links, ...mapped].find(inside) ?? null;
}

/**
 * Clears what a killed process left at `path`: a mount that answers "Transport endpoint is not connected". Throws when a living process serves one there.
 */
export function clearDeadMount(path: string): void {
  const top = topMountAt(path);
  if (top === undefined || top.source !== MOUNT_SOURCE || !top.type.startsWith("fuse")) return;
  // Past the kernel's cache, which still knows the top of a dead mount.
  const stat = libc.withString(path, (at) =>
    libc.statx(-100, at, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, statAddress),
  );
  if (stat !== -errnos.ENOTCONN && stat !== -errnos.ECONNABORTED)
    throw new Error(`${path} is served by another Holdfast process; stop its module first`);
  unmountDead(path);
}

/** Aborts the FUSE connection with this number. Throws when the kernel does not let us. */
export function abortConnection(connection: number): void {
  if (!existsSync(CONNECTIONS)) mkdirSync(CONNECTIONS, { recursive: true });
  if (readdirSync(CONNECTIONS).length === 0)
    check(
      libc.mount("none", CONNECTIONS, "fusectl", 0, ""),
      `cannot mount ${CONNECTIONS}, through which a mount is aborted`,
    );
  writeFileSync(`${CONNECTIONS}/${connection}/abort`, "1");
}

/** FUSE mounts may by default have 1 % of memory dirty, strictly. */
function raiseDirtyLimit(device: string): void {
  try {
    writeFileSync(`/sys/class/bdi/${device}/strict_limit`, "0");
    writeFileSync(`/sys/class/bdi/${device}/max_ratio`, "100");
  } catch (error) {
    // In a user namespace it stays: slower, not wrong.
    if (process.geteuid?.() === 0 && libc.geteuid() === 0 && !isPermission(error)) throw error;
  }
}

function isPermission(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : "";
  return code === "EACCES" || code === "EPERM" || code === "EROFS" || code === "ENOENT";
}

/* A process may end at any moment while it is looked at: then it holds nothing. */
function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
function linkOf(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return "";
  }
}
