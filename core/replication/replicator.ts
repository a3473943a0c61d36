/**
 * The seam between the file system that applications use and the stream that the peer applies.
 *
 * The FUSE session applies an operation to the backing directory, then tells the replicator what it did, in the order
 * applied, in the same thread. The replicator marks, numbers, sends, and says when the peer's word is in. Objects are
 * named by their shared identity (`id`, below 2^48, the inode number that applications see), never by path.
 */

/** Attributes after an operation, as both copies must end up with them. Times are [seconds, nanoseconds]. */
export interface ResultTimes {
  /** The parent's mtime after a change of its names. */
  parentSeconds: number;
  parentNanos: number;
  /** The object's own mtime after its creation; 0 and 0 for other changes. */
  objectSeconds: number;
  objectNanos: number;
}

/**
 * What the primary's file system tells. `before*` calls come before the backing directory changes and return false when
 * the mark is not yet durable: the caller parks the request and tries again in a later turn of the loop. All others come after success.
 * Each mutation returns its stream sequence number (a safe integer), 0 when nothing needs to be sent.
 */
export interface Replicator {
  /** Room in the queue and the data zone active on disk? `length` bytes from `offset`. */
  beforeData(id: number, offset: number, length: number): boolean;
  /** Room in the queue and the names of this directory active on disk? */
  beforeNames(directory: number): boolean;
  /** Room in the queue and the attributes of this object active on disk? */
  beforeAttributes(id: number): boolean;
  /** A fresh identity for an object about to be created, never used before, already active on disk; 0: park. */
  newIdentity(): number;

  write(id: number, offset: number, data: Uint8Array, dataOffset: number, length: number): number;
  allocate(id: number, mode: number, offset: number, length: number): number;
  /** mode includes the type; `target` for symlinks; xattrs that creation made (ACLs inherited) follow as setXattr. */
  create(
    parent: number,
    name: Uint8Array,
    id: number,
    mode: number,
    rdev: number,
    uid: number,
    gid: number,
    target: Uint8Array | null,
    times: ResultTimes,
  ): number;
  /** O_TMPFILE: an object without a name, on the disk of `directory`. */
  createUnnamed(id: number, mode: number, uid: number, gid: number, directory: number): number;
  link(id: number, parent: number, name: Uint8Array, times: ResultTimes): number;
  /** `last`: the object has no other name. */
  unlink(
    parent: number,
    name: Uint8Array,
    directory: boolean,
    id: number,
    times: ResultTimes,
    last: boolean,
  ): number;
  /** `replacedLast`: what lay at the new name has lost its last name. */
  rename(
    from: number,
    fromName: Uint8Array,
    to: number,
    toName: Uint8Array,
    flags: number,
    fromTimes: ResultTimes,
    toTimes: ResultTimes,
    replacedLast: boolean,
  ): number;
  /** `valid` is a mask of ATTR_*; only the named fields count. Sizes in bytes. */
  setAttributes(
    id: number,
    valid: number,
    mode: number,
    uid: number,
    gid: number,
    size: number,
    atime: number,
    atimeNanos: number,
    mtime: number,
    mtimeNanos: number,
  ): number;
  setXattr(id: number, name: Uint8Array, value: Uint8Array): number;
  removeXattr(id: number, name: Uint8Array): number;
  /** FS_IOC_SETFLAGS bits. */
  setFlags(id: number, flags: number): number;
  /**
   * This disk failed to keep what was written to this object, and told it once: what syncs it next hears nothing of that. So no durable point
   * vouches for it, and it is copied when the peer has taken over.
   */
  diskFailed(id: number): void;
  /** This disk does not give this object's data. It is copied when the peer has taken over; until then the peer's, which is whole, is not to be copied from it. */
  unreadable(id: number): void;
  /**
   * A change of these bytes failed and may have done half of it, which cannot be told: the copies differ there until one is made from the
   * other, so no durable point vouches for the object.
   */
  failedHalfway(id: number, offset: number, length: number): void;
  /** No node id refers to this object any more: the peer may drop its handle of an unlinked file. */
  forget(id: number): void;

  /**
   * Make `id` durable at the peer. Returns a ticket: `isSettled(ticket)` becomes true when the peer's durable word is in,
   * or when this node is durably alone. Never settles with stale news: a ticket outlives a lost connection.
   */
  sync(id: number, dataOnly: boolean): number;
  /** `durability: write`: has the peer this sequence number in its hands (or is this node durably alone)? */
  isAcknowledged(sequence: number): boolean;
  isSettled(ticket: number): boolean;
}

/** FATTR_* of include/uapi/linux/fuse.h, also the wire's. */
export const ATTR_MODE = 1;
export const ATTR_UID = 2;
export const ATTR_GID = 4;
export const ATTR_SIZE = 8;
export const ATTR_ATIME = 16;
export const ATTR_MTIME = 32;
