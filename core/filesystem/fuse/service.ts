/**
 * A primary's file systems: mounted over the replicated directories, served, and taken away without losing a page.
 */

import { MNT_DETACH } from "../../platform/linux/constants.ts";
import { check, errnoName } from "../../platform/linux/errno.ts";
import { close, kill, memfdCreate, umount2 } from "../../platform/linux/libc.ts";
import { POLLIN } from "../../platform/linux/sockets.ts";
import type { Place } from "../../replication/marks.ts";
import { nameText } from "../../replication/name_text.ts";
import type { Replicator } from "../../replication/replicator.ts";
import type { Host, Shelves } from "../host.ts";
import type { PollSource } from "../loop/poll_loop.ts";
import { highInodes } from "../mounts/high_inodes.ts";
import { FuseMount } from "../mounts/mount.ts";
import { type NameFilter, nameFilter } from "../objects/exclusion.ts";
import type { TreeRoot } from "../objects/source_tree.ts";
import { Backing, openRoot } from "./backing.ts";
import { KeptFiles } from "./kept_files.ts";
import { ROOT } from "./node_table.ts";
import { PlaceFinder } from "./place_finder.ts";
import { Session } from "./session.ts";

/** After this long, who keeps the mount busy in spite of SIGKILL loses it anyway, ms. */
const UNMOUNT_LIMIT = 10_000;
const RETRY = 20;
const TICK = 1000;

/** One directory that is served. */
class Served implements PollSource {
  constructor(
    readonly path: string,
    readonly backing: Backing,
    readonly mount: FuseMount,
    readonly session: Session,
  ) {}
  get fd(): number {
    return this.session.ended ? -1 : this.session.fd;
  }
  events(): number {
    return this.session.canRead ? POLLIN : 0;
  }
  onReady(): void {
    this.session.drain();
  }
}

/** What a former process left of one directory. */
export interface InheritedMount {
  path: string;
  /** The FUSE descriptor, the node table's memory file, the directory under the mount. */
  fuse: number;
  table: number;
  root: number;
}

/** The mounts that lie on the shelf, with descriptors of their own; null when there are none. */
export function inheritedMounts(shelves: Shelves | null): InheritedMount[] | null {
  const found = shelves?.mounts.look() ?? null;
  if (found === null) return null;
  const paths = JSON.parse(new TextDecoder().decode(found.note)) as string[];
  return paths.map((path, index) => {
    const [fuse = -1, table = -1, root = -1] = found.fds.slice(index * 3);
    return { path, fuse, table, root };
  });
}

/** Told what a former process left besides its mounts. */
interface Heir extends Replicator {
  /** The object has no name any more. */
  takeNameless(id: number): void;
}

/** All served directories of a module. */
export class Service {
  readonly #host: Host;
  readonly #backings: { path: string; backing: Backing; table: number; filter: NameFilter | null }[] = [];
  readonly #served: Served[] = [];
  #keptFiles: KeptFiles | null = null;
  #tickAt = 0;
  #unmounting: { done: (problem: string) => void; since: number; retryAt: number } | null = null;

  /**
   * Opens the directories; nothing is mounted yet. `seen` hears each object that the kernel meets. `inherited`: what a former process
   * shelved, to be taken over with `adopt`. Throws.
   */
  constructor(
    host: Host,
    seen: (id: number, parent: number, name: Uint8Array, at: number) => void,
    inherited: readonly InheritedMount[] | null = null,
  ) {
    this.#host = host;
    for (const [index, replicated] of host.config.paths.entries()) {
      const { path } = replicated;
      const filter = nameFilter(replicated);
      const table =
        inherited?.[index]?.table ??
        check(memfdCreate(`holdfast-${host.config.module}`), "cannot make the node table");
      const root = inherited?.[index]?.root ?? openRoot(path);
      const backing = new Backing(
        root,
        table,
        host.config.nodeNumber,
        exclusionOf(filter),
        index,
        host.config.paths.length,
      );
      backing.onSeen = seen;
      // What cannot be met is refused (EOVERFLOW); all else is served.
      backing.identities.onTooHigh = (): void => host.log("error", highInodes(root));
      this.#backings.push({ path, backing, table, filter });
    }
    const backings = this.#backings.map(({ backing }) => backing);
    if (host.shelves !== null) {
      const files = new KeptFiles(host.shelves.files, backings, host.pool);
      this.#keptFiles = files;
      if (inherited === null) host.shelves.files.clear();
      else files.recover();
      for (const [root, backing] of backings.entries())
        backing.onNameless = (index, fd): void => files.put(root, index, fd);
    }
  }

  /** Finds the names of objects that only a former process has met. */
  get finder(): (id: number) => Place | null {
    return new PlaceFinder(this.#backings.map(({ backing }) => backing)).find;
  }

  /** The directories, as the primary's stream needs them. */
  get roots(): TreeRoot[] {
    return this.#backings.map(({ backing, filter }) => ({
      fd: backing.rootFd,
      id: backing.table.identity(ROOT),
      identities: backing.identities,
      filter,
    }));
  }

  /** Mounts and serves. Throws; what was mounted by then is unmounted. */
  mount(replicator: Replicator): void {
    try {
      for (const { path, backing } of this.#backings)
        this.#serve(path, backing, FuseMount.make(path, backing.rootFd, this.#host.mountPool), replicator);
      this.#shelve();
    } catch (error) {
      this.abort();
      throw error;
    }
  }

  /** Serves the mounts that a former process made. Throws when that is not possible; nothing is changed then. */
  adopt(replicator: Heir, inherited: readonly InheritedMount[]): void {
    for (const { path, backing } of this.#backings) {
      const problem = backing.reachProblem();
      if (problem !== "") throw new Error(`${path}: ${problem}`);
      for (const id of backing.nameless()) replicator.takeNameless(id);
    }
    const mounts = inherited.map(({ path, fuse }) => FuseMount.adopt(path, fuse, this.#host.mountPool));
    for (const [index, { path, backing }] of this.#backings.entries())
      this.#serve(path, backing, mounts[index]!, replicator);
    for (const { session } of this.#served) session.resend();
  }

  #serve(path: string, backing: Backing, mount: FuseMount, replicator: Replicator): void {
    const { durability, close } = this.#host.config;
    const session = new Session(mount.fd, backing, replicator, this.#host.pool, { durability, close });
    session.onDiskFailure = (errno, call): void => {
      // The copy is suspect from the first one on: the others say nothing new.
      session.onDiskFailure = null;
      this.#host.report({ kind: "diskFailed", detail: `${call} failed in ${path}: ${errnoName(errno)}` });
    };
    const served = new Served(path, backing, mount, session);
    this.#served.push(served);
    this.#host.loop.add(served);
  }

  /** Leaves with the guardian what the next process would need, should this one be killed. */
  #shelve(): void {
    const { shelves } = this.#host;
    if (shelves === null) return;
    const note = new TextEncoder().encode(JSON.stringify(this.#served.map(({ path }) => path)));
    const fds = this.#served.flatMap(({ session, backing }, index) => [
      session.fd,
      this.#backings[index]!.table,
      backing.rootFd,
    ]);
    shelves.mounts.clear();
    if (!shelves.mounts.put(note, fds))
      this.#host.log("warning", "should this process be killed, the application will be started again");
  }

  #unshelve(): void {
    this.#host.shelves?.mounts.clear();
    this.#host.shelves?.files.clear();
  }

  /** Once a turn. Returns when it wants to be called again. */
  afterTurn(now: number): number {
    const tick = now >= this.#tickAt;
    if (tick) {
      this.#tickAt = now + TICK;
      this.#keptFiles?.release();
    }
    for (const { session, mount } of this.#served) {
      session.resume();
      if (!tick) continue;
      session.tick();
      if (this.#unmounting === null) mount.flush();
    }
    if (this.#unmounting !== null) return this.#unmountFurther(now);
    return this.#tickAt;
  }

  /** The syncs that were asked for begin: what the peer has to know of them has left. */
  beginSyncs(): void {
    for (let at = 0; at < this.#served.length; at++) this.#served[at]!.session.syncs.begin();
  }

  /** Tells what is still due of modification times, so that both copies have the same. */
  settleTimes(): void {
    for (const { session } of this.#served) session.times.settleAll();
  }

  /** Begins to unmount; `done` hears what went wrong, or "". The loop must go on. */
  unmount(now: number, done: (problem: string) => void): void {
    this.#unmounting = { done, since: now, retryAt: now };
    for (const { mount } of this.#served) mount.startUnmount();
  }

  /** Ends all connections at once: pages not handed over are lost. */
  abort(): void {
    this.#unshelve();
    for (const { mount, path } of this.#served) {
      try {
        mount.abort();
      } catch (error) {
        this.#host.log("error", `cannot abort the mount of ${path}: ${String(error)}`);
      }
      umount2(path, MNT_DETACH);
    }
    this.#close();
  }

  #unmountFurther(now: number): number {
    const state = this.#unmounting!;
    const busy = this.#served.filter(({ mount }) => mount.unmountResult !== 0);
    if (busy.length === 0) {
      this.#unmounting = null;
      this.#unshelve();
      this.#close();
      state.done("");
      return now;
    }
    const failed = busy.filter(({ mount }) => mount.unmountResult !== null);
    if (failed.length === 0 || now < state.retryAt) return now + RETRY;
    state.retryAt = now + RETRY;
    if (now - state.since > UNMOUNT_LIMIT) {
      this.#unmounting = null;
      const problem = `could not be unmounted within ${UNMOUNT_LIMIT / 1000} s (${errnoName(failed[0]!.mount.unmountResult!)}): aborted`;
      this.abort();
      state.done(`${failed[0]!.path} ${problem}`);
      return now;
    }
    for (const served of failed) this.#evict(served);
    return state.retryAt;
  }

  /** Kills who keeps the directory busy: the application was stopped before, what is left would write after the hand-over (trap 21). */
  #evict(served: Served): void {
    for (const { pid, command, file } of served.mount.holders()) {
      if (pid === process.pid) continue;
      this.#host.log("warning", `${command} (pid ${pid}) still uses ${file}: killed`);
      kill(pid, 9);
    }
    served.mount.startUnmount();
  }

  #close(): void {
    for (const served of this.#served) {
      this.#host.loop.remove(served);
      served.session.close();
    }
    for (const { table } of this.#backings) close(table);
    this.#served.length = 0;
    this.#backings.length = 0;
  }
}

/** The same judgement in the form that the file system asks for. */
function exclusionOf(
  filter: NameFilter | null,
): ((parent: number, name: Uint8Array, at: number) => boolean) | null {
  if (filter === null) return null;
  return (parent, name, at) => filter(nameText(name, at, name.indexOf(0, at) - at), parent === ROOT);
}
