/**
 * A primary's file systems: mounted over the replicated directories, served, and taken away without losing a page.
 */

import { MNT_DETACH } from "../platform/linux/constants.ts";
import { check, errnoName, errnos } from "../platform/linux/errno.ts";
import { kill, memfdCreate, umount2 } from "../platform/linux/libc.ts";
import { POLLIN } from "../platform/linux/sockets.ts";
import type { Replicator } from "../replication/replicator.ts";
import { Backing, openRoot } from "./backing.ts";
import type { Host } from "./host.ts";
import { FuseMount } from "./mount.ts";
import { ROOT } from "./node_table.ts";
import type { PollSource } from "./poll_loop.ts";
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

/** All served directories of a module. */
export class Service {
  readonly #host: Host;
  readonly #backings: { path: string; backing: Backing }[] = [];
  readonly #served: Served[] = [];
  #tickAt = 0;
  #unmounting: { done: (problem: string) => void; since: number; retryAt: number } | null = null;

  /** Opens the directories; nothing is mounted yet. `seen` hears each object that the kernel meets. Throws. */
  constructor(host: Host, seen: (id: number, parent: number, name: Uint8Array, at: number) => void) {
    this.#host = host;
    for (const { path, exclude, only } of host.config.paths) {
      const table = check(memfdCreate(`holdfast-${host.config.module}`), "cannot make the node table");
      const backing = new Backing(openRoot(path), table, host.config.nodeNumber, exclusionOf(exclude, only));
      backing.onSeen = seen;
      this.#backings.push({ path, backing });
    }
  }

  /** The directories, as the primary's stream needs them. */
  get roots(): { fd: number; id: number }[] {
    return this.#backings.map(({ backing }) => ({ fd: backing.rootFd, id: backing.table.identity(ROOT) }));
  }

  /** Mounts and serves. Throws; what was mounted by then is unmounted. */
  mount(replicator: Replicator): void {
    const { durability, close } = this.#host.config;
    try {
      for (const { path, backing } of this.#backings) {
        const mount = FuseMount.make(path, backing.rootFd, this.#host.pool);
        const session = new Session(mount.fd, backing, replicator, this.#host.pool, { durability, close });
        const served = new Served(path, backing, mount, session);
        this.#served.push(served);
        this.#host.loop.add(served);
      }
    } catch (error) {
      this.abort();
      throw error;
    }
  }

  /** Once a turn. Returns when it wants to be called again. */
  afterTurn(now: number): number {
    const tick = now >= this.#tickAt;
    if (tick) this.#tickAt = now + TICK;
    for (const { session, mount } of this.#served) {
      session.resume();
      if (!tick) continue;
      session.tick();
      if (this.#unmounting === null) mount.flush();
    }
    if (this.#unmounting !== null) return this.#unmountFurther(now);
    return this.#tickAt;
  }

  /** Begins to unmount; `done` hears what went wrong, or "". The loop must go on. */
  unmount(now: number, done: (problem: string) => void): void {
    this.#unmounting = { done, since: now, retryAt: now };
    for (const { mount } of this.#served) mount.startUnmount();
  }

  /** Ends all connections at once: pages not handed over are lost. */
  abort(): void {
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
    this.#served.length = 0;
    this.#backings.length = 0;
  }
}

/** Whether a name is left out: `exclude` and `only` are patterns of names, with * and ?. */
function exclusionOf(
  exclude: readonly string[],
  only: readonly string[],
): ((parent: number, name: Uint8Array, at: number) => boolean) | null {
  if (exclude.length === 0 && only.length === 0) return null;
  const pattern = (text: string): RegExp =>
    new RegExp(
      `^${text
        .replace(/[.+^${}()|[\]\\]/g, "\\$&")
        .replace(/\*/g, ".*")
        .replace(/\?/g, ".")}$`,
      "s",
    );
  const out = exclude.map(pattern);
  const wanted = only.map(pattern);
  return (parent, name, at) => {
    const text = Buffer.from(name.buffer, name.byteOffset + at, name.indexOf(0, at) - at).toString("latin1");
    if (out.some((expression) => expression.test(text))) return true;
    return parent === ROOT && wanted.length > 0 && !wanted.some((expression) => expression.test(text));
  };
}

/** EBUSY, for who compares. */
export const busy = -errnos.EBUSY;
