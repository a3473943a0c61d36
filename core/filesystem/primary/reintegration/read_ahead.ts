/**
 * The reintegration's reads go to the disk in the pool, a little ahead, so that the loop, which answers the application too, finds
 * in memory what it opens and reads. Nothing that a thread read is sent: bytes are taken in the turn in which their frame is queued.
 */
import { F_DUPFD_CLOEXEC, RWF_NOWAIT } from "../../../platform/linux/constants.ts";
import { allocate, close, fcntl, preadv2 } from "../../../platform/linux/libc.ts";
import { getU64, type Memory } from "../../../platform/linux/memory.ts";
import { nameBytes } from "../../../replication/name_text.ts";
import { type Completion, Job, POOL_BUFFER, type Pool } from "../../loop/pool.ts";
import { STX_SIZE, scratch, VECTOR, vectorAddress } from "../../objects/places.ts";
import type { BackingTree } from "../../objects/source_tree.ts";

/** Objects looked at ahead, and how many at once: the pool has other work, which somebody waits for. */
export const OBJECTS_AHEAD = 8;
const AT_ONCE = 2;
const NAME_ROOM = 256;
const TWO_32 = 2 ** 32;
const names = allocate(AT_ONCE * NAME_ROOM);

/** What a thread does for us. */
interface Errand {
  id: number;
  /** Our own copy of a descriptor: the tree's may be closed meanwhile. -1: idle. */
  fd: number;
  isCount: boolean;
}

/** See the top of the file. */
export class ReadAhead implements Completion {
  readonly #pool: Pool;
  readonly #tree: BackingTree;
  readonly #errands: readonly Errand[];
  /** Objects that were asked for: true once they are in memory. */
  readonly #here = new Map<number, boolean>();
  #reading = -1;
  /** Hears the size of an object that was counted; -errno when it cannot be told. */
  counted: (id: number, size: number) => void = () => {};

  constructor(pool: Pool, tree: BackingTree) {
    this.#pool = pool;
    this.#tree = tree;
    this.#errands = Array.from({ length: AT_ONCE }, () => ({ id: 0, fd: -1, isCount: false }));
  }

  /** Is the first of these in memory? Asks for it, and for those that come after it. */
  has(ids: readonly number[]): boolean {
    for (const id of ids) {
      if (this.#here.has(id)) continue;
      const sent = this.#send(id, false);
      if (sent === "busy") break;
      this.#here.set(id, sent === "unknown");
    }
    return this.#here.get(ids[0]!) === true;
  }

  /** The object is dealt with. */
  done(id: number): void {
    this.#here.delete(id);
  }

  /** Asks for the sizes of more of these objects; `counted` hears them. False while some are still to come. */
  count(ids: Iterator<number>): boolean {
    while (this.#errands.some(({ fd }) => fd < 0)) {
      const { value, done } = ids.next();
      if (done === true) return this.#errands.every(({ fd }) => fd < 0);
      this.#send(value, true);
    }
    return false;
  }

  /** Is a `read` under way? */
  get isReading(): boolean {
    return this.#reading >= 0;
  }

  /** Brings a stretch of an open file into memory. False when the pool cannot take it. */
  read(fd: number, offset: number): boolean {
    const copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) return false;
    const completed = (): void => {
      close(copy);
      this.#reading = -1;
    };
    if (!this.#pool.submit(Job.READ, copy, offset, POOL_BUFFER, 0, { completed }, 0)) {
      close(copy);
      return false;
    }
    this.#reading = copy;
    return true;
  }

  completed(cookie: number, result: number, data: Memory): void {
    const errand = this.#errands[cookie]!;
    close(errand.fd);
    errand.fd = -1;
    if (errand.isCount) this.counted(errand.id, result < 0 ? result : getU64(data.view, STX_SIZE));
    else if (this.#here.has(errand.id)) this.#here.set(errand.id, true);
  }

  #send(id: number, isCount: boolean): "sent" | "busy" | "unknown" {
    const cookie = this.#errands.findIndex(({ fd }) => fd < 0);
    const errand = this.#errands[cookie];
    if (errand === undefined) return "busy";
    const place = this.#tree.whereabouts(id);
    if (place === null) return "unknown";
    const fd = fcntl(place.directory, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) return "unknown";
    const name = nameBytes(place.name);
    const at = cookie * NAME_ROOM;
    names.bytes.set(name, at);
    names.bytes[at + name.length] = 0;
    const job = isCount ? Job.STAT_AT : Job.WARM;
    if (!this.#pool.submit(job, fd, 0, POOL_BUFFER, names.address + at, this, cookie)) {
      close(fd);
      return "unknown";
    }
    errand.id = id;
    errand.fd = fd;
    errand.isCount = isCount;
    return "sent";
  }
}

/** pread(2) of what is in memory only. Returns bytes read, which may be fewer, or -errno. */
export function readFromMemory(fd: number, address: number, length: number, offset: number): number {
  const { words } = scratch;
  words[VECTOR >>> 2] = address >>> 0;
  words[(VECTOR >>> 2) + 1] = Math.floor(address / TWO_32);
  words[(VECTOR >>> 2) + 2] = length;
  words[(VECTOR >>> 2) + 3] = 0;
  return preadv2(fd, vectorAddress, 1, offset, RWF_NOWAIT);
}
