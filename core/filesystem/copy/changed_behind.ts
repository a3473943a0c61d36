/**
 * What somebody changed in a copy while it was stopped: the application started by hand, a restore, an administrator (trap 12).
 *
 * No log knows of it. The whole tree is looked at, one statx per object, a little in each turn of the loop, for change times since
 * the stop; what has one is dirty. While the copy is served, what the application changes has later times too: so each object is
 * judged when the kernel first meets it, before it can be changed, and the walk leaves alone what is younger than the mount.
 */
import {
  AT_EMPTY_PATH,
  AT_SYMLINK_NOFOLLOW,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  STATX_BASIC_STATS,
} from "../../platform/linux/constants.ts";
import { errnoName, errnos, isAbsent } from "../../platform/linux/errno.ts";
import { allocate, close, cString, getdents64, openat, statx } from "../../platform/linux/libc.ts";
import { IdentitySet } from "../../replication/identity_set.ts";
import { objectFor } from "../../replication/marked_objects.ts";
import { nameBytes, nameText } from "../../replication/name_text.ts";
import { DT_DIR } from "../../replication/names.ts";
import type { Host } from "../host.ts";
import { monotonic } from "../loop/poll_loop.ts";
import { PRIVATE_NAME } from "../objects/identity.ts";
import type { KnownPlaces } from "../objects/known_places.ts";
import { kernelName } from "../objects/object_access.ts";
import { emptyString, STAT, STX_INO, STX_MODE, scratch, statAddress } from "../objects/places.ts";
import type { TreeRoot } from "../objects/source_tree.ts";
import type { MarksStore } from "./marks_store.ts";
import { changeTime, type FileTime, forgetStop, isLater, stopPoint, timeOf } from "./stop_point.ts";

/** Work in one turn, ms, and the rest after it while an application waits for this thread too. */
const SLICE = 1;
const REST = 4;
const ROOM = 32 * 1024;
/** Paths that are named in the log. */
const NAMED = 10;
/** A directory that was moved while the tree was walked may have been missed: it is walked again, this often at most. */
const ROUNDS = 3;
const D_RECLEN = 16;
const D_NAME = 19;
const room = allocate(ROOM);
const dot = cString(".").address;

/** A directory that is being looked at. */
interface Visit {
  fd: number;
  id: number;
  name: string;
  above: Visit | null;
  root: TreeRoot;
  /** Directories in it that are still to be visited. */
  ahead: string[];
  listed: boolean;
}

/** One look at a whole copy. */
export class ChangedBehind {
  isDone = false;
  readonly #host: Host;
  readonly #store: MarksStore;
  readonly #roots: readonly TreeRoot[];
  readonly #places: KnownPlaces | null;
  readonly #since: FileTime;
  /** When the mount was made; null: nobody but this process changes the copy now. */
  readonly #until: FileTime | null;
  readonly #found = new IdentitySet();
  #count = 0;
  readonly #named: string[] = [];
  readonly #time: FileTime = { seconds: 0, nanos: 0 };
  #top: Visit | null = null;
  #nextRoot = 0;
  #filled = 0;
  #at = 0;
  #round = 1;
  #renames: number;
  #trouble = "";

  private constructor(
    host: Host,
    store: MarksStore,
    roots: readonly TreeRoot[],
    places: KnownPlaces | null,
    since: FileTime,
  ) {
    this.#host = host;
    this.#store = store;
    this.#roots = roots;
    this.#places = places;
    this.#since = since;
    this.#until =
      places === null ? null : roots.map(({ fd }) => timeOf(fd)).reduce((a, b) => (isLater(a, b) ? a : b));
    this.#renames = places?.renames ?? 0;
  }

  /**
   * A look at these directories, or null when nothing can have changed in secret: they were not stopped in good order, or everything is
   * copied anyway. `places`: of the copy that is about to be mounted; null for one that nobody uses. Throws SystemError.
   */
  static begin(
    host: Host,
    store: MarksStore,
    roots: readonly TreeRoot[],
    places: KnownPlaces | null,
  ): ChangedBehind | null {
    const points = roots.map(({ fd }) => stopPoint(fd)).filter((point) => point !== null);
    if (points.length === 0) return null;
    if (store.marks.everything) {
      for (const { fd } of roots) forgetStop(fd);
      return null;
    }
    const since = points.reduce((a, b) => (isLater(a, b) ? b : a));
    return new ChangedBehind(host, store, roots, places, since);
  }

  /** Looks a little further. Returns when to go on; Infinity: it is done. `hurry`: nothing else is waited for. */
  step(now: number, hurry: boolean): number {
    const end = now + SLICE;
    while (this.#advance()) if (monotonic() > end) return hurry ? now : monotonic() + REST;
    this.#finish();
    return Number.POSITIVE_INFINITY;
  }

  /** The kernel meets an object for the first time; its attributes are in STAT. */
  seen(id: number, parent: number, name: Uint8Array, at: number): void {
    if (!this.#isChanged()) return;
    const text = nameText(name, at, name.indexOf(0, at) - at);
    this.#mark(id, parent, text, this.#isDirectory(), () => this.#pathOf(parent, text));
  }

  /** Ends it early: the stop point stays for the next time. */
  close(): void {
    for (let visit = this.#top; visit !== null; visit = visit.above) close(visit.fd);
    this.#top = null;
    this.isDone = true;
  }

  /** One object, or one call to the kernel. False when all were seen. */
  #advance(): boolean {
    const visit = this.#top;
    if (visit === null) return this.#beginRoot();
    if (!visit.listed) {
      if (this.#at < this.#filled) this.#look(visit);
      else this.#list(visit);
      return true;
    }
    const name = visit.ahead.pop();
    if (name !== undefined) this.#enter(visit, name);
    else {
      close(visit.fd);
      this.#top = visit.above;
    }
    return true;
  }

  #beginRoot(): boolean {
    const root = this.#roots[this.#nextRoot++];
    if (root === undefined) return this.#again();
    const fd = openat(root.fd, dot, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0) {
      this.#cannot(`a replicated directory cannot be opened: ${errnoName(fd)}`);
      return true;
    }
    const visit = { fd, id: root.id, name: "", above: null, root, ahead: [], listed: false };
    this.#push(visit);
    if (statx(fd, emptyString, AT_EMPTY_PATH, STATX_BASIC_STATS, statAddress) === 0 && this.#isChanged())
      this.#mark(root.id, 0, "", true, () => this.#topPath(root));
    return true;
  }

  #again(): boolean {
    const renames = this.#places?.renames ?? 0;
    if (renames === this.#renames || this.#round === ROUNDS) return false;
    this.#renames = renames;
    this.#round++;
    this.#nextRoot = 0;
    return true;
  }

  #enter(above: Visit, name: string): void {
    const bytes = nameBytes(name);
    const at = kernelName(bytes, 0, bytes.length);
    const fd = openat(above.fd, at, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    // Removed, moved or replaced by the application since: what it was is judged where the kernel met it.
    if (fd === -errnos.ENOENT || fd === -errnos.ENOTDIR || fd === -errnos.ELOOP) return;
    if (fd < 0) this.#cannot(`${this.#path(above, name)} cannot be opened: ${errnoName(fd)}`);
    else this.#push({ fd, id: 0, name, above, root: above.root, ahead: [], listed: false });
  }

  #push(visit: Visit): void {
    this.#top = visit;
    this.#filled = this.#at = 0;
  }

  #list(visit: Visit): void {
    this.#at = 0;
    this.#filled = getdents64(visit.fd, room.address, ROOM);
    if (this.#filled < 0) this.#cannot(`${this.#path(visit, "")} cannot be read: ${errnoName(this.#filled)}`);
    visit.listed = this.#filled <= 0;
  }

  #look(visit: Visit): void {
    const start = this.#at + D_NAME;
    const low = room.view.getUint32(this.#at, true);
    const high = room.view.getUint32(this.#at + 4, true);
    this.#at += room.view.getUint16(this.#at + D_RECLEN, true);
    const name = nameText(room.bytes, start, room.bytes.indexOf(0, start) - start);
    const { root } = visit;
    const top = visit.above === null;
    if (name === "." || name === ".." || (top && name === PRIVATE_NAME)) return;
    if (root.filter?.(name, top) === true) return;
    const stat = statx(visit.fd, room.address + start, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, statAddress);
    if (stat < 0) {
      if (!isAbsent(stat)) this.#cannot(`${this.#path(visit, name)} cannot be read: ${errnoName(stat)}`);
      return;
    }
    const directory = this.#isDirectory();
    if (directory) visit.ahead.push(name);
    if (!this.#isChanged()) return;
    const id = root.identities.ofName(visit.fd, room.bytes, start, low, high);
    if (id < 0) this.#cannot(`${this.#path(visit, name)} cannot be read: ${errnoName(id)}`);
    else this.#mark(id, this.#know(visit), name, directory, () => this.#path(visit, name));
  }

  /** Did the object in STAT change while the copy was stopped? */
  #isChanged(): boolean {
    const time = changeTime(this.#time);
    return !isLater(this.#since, time) && (this.#until === null || !isLater(time, this.#until));
  }

  #isDirectory(): boolean {
    return scratch.view.getUint16(STAT + STX_MODE, true) >>> 12 === DT_DIR;
  }

  #mark(id: number, parent: number, name: string, directory: boolean, path: () => string): void {
    if (!this.#found.add(id)) return;
    this.#count++;
    if (this.#named.length < NAMED) this.#named.push(path());
    this.#remember(id, parent, name);
    this.#store.marks.markWhole(id, directory, false);
  }

  /** The identity of a directory on the way, which is written down with those above it: where the marked objects are found. */
  #know(visit: Visit): number {
    if (visit.id !== 0) return visit.id;
    const parent = this.#know(visit.above!);
    statx(visit.fd, emptyString, AT_EMPTY_PATH, STATX_BASIC_STATS, statAddress);
    const low = scratch.view.getUint32(STAT + STX_INO, true);
    const high = scratch.view.getUint32(STAT + STX_INO + 4, true);
    const id = visit.root.identities.ofDescriptor(visit.fd, false, low, high);
    if (id < 0) {
      this.#cannot(`${this.#path(visit, "")} cannot be read: ${errnoName(id)}`);
      return parent;
    }
    visit.id = id;
    this.#remember(id, parent, visit.name);
    return id;
  }

  #remember(id: number, parent: number, name: string): void {
    if (parent === 0) return;
    objectFor(this.#store.marks.objects, id).place ??= { parent, name };
    if (this.#places !== null && this.#places.get(id) === null) this.#places.set(id, parent, name);
  }

  /** Unseen is not unchanged: then nothing is known, and everything is copied. */
  #cannot(why: string): void {
    this.#trouble ||= why;
  }

  #finish(): void {
    this.isDone = true;
    const count = this.#count;
    if (this.#trouble !== "") this.#store.marks.everything = true;
    if (count > 0 || this.#trouble !== "") this.#store.rewrite();
    for (const { fd } of this.#roots) forgetStop(fd);
    if (this.#trouble !== "")
      this.#host.log(
        "error",
        `what was changed while the module was stopped is not known (${this.#trouble}): everything is copied`,
      );
    else if (count > 0)
      this.#host.log(
        "warning",
        `${count} objects were changed while the module was stopped, and are copied again: ${this.#named.join(", ")}${count > NAMED ? ", ..." : ""}`,
      );
  }

  #topPath(root: TreeRoot): string {
    return this.#host.config.paths[this.#roots.indexOf(root)]?.path ?? "";
  }

  #path(visit: Visit, name: string): string {
    const names = name === "" ? [] : [name];
    let at = visit;
    for (; at.above !== null; at = at.above) names.unshift(at.name);
    return [this.#topPath(at.root), ...names.map(readable)].join("/");
  }

  #pathOf(parent: number, name: string): string {
    const names = [name];
    let at = parent;
    for (let place = this.#places?.get(at); place && place.parent !== 0; place = this.#places?.get(at)) {
      names.unshift(place.name);
      at = place.parent;
    }
    const root = this.#roots.find(({ id }) => id === at);
    return [root === undefined ? "" : this.#topPath(root), ...names.map(readable)].join("/");
  }
}

const readable = (name: string): string => Buffer.from(name, "latin1").toString("utf8");
