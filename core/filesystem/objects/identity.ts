/**
 * Identities: the number, below 2^48, that both copies of an object share and that applications see as its inode number.
 *
 * An object that was there before has its node's number, its directory's, and its backing inode number. Any other carries its identity in an
 * extended attribute, together with the backing inode number that it was written for: an attribute that a tool copied
 * to another object does not match and does not count.
 */
import { O_CLOEXEC, O_DIRECTORY, O_RDONLY } from "../../platform/linux/constants.ts";
import { check, errnos } from "../../platform/linux/errno.ts";
import * as libc from "../../platform/linux/libc.ts";
import { getU64, setU64 } from "../../platform/linux/memory.ts";
import { childPath, descriptorPath, fixedName, IDENTITY_VALUE, identityAddress, scratch } from "./places.ts";

/** Our directory at the top of a replicated directory; applications do not see it. */
export const PRIVATE_NAME = ".holdfast";
const TWO_44 = 2 ** 44;
const TWO_40 = 2 ** 40;
/** Identities have four bits for the directory and forty for its inode number. */
const MAX_ROOTS = 16;
const MAX_INO_HIGH = 256;
const TWO_45 = 2 ** 45;
const TWO_32 = 2 ** 32;
const VALUE_LENGTH = 16;

const privateName = fixedName(PRIVATE_NAME);
const trusted = fixedName("trusted.holdfast");
const user = fixedName("user.holdfast");

/** The identity attribute's names, as bytes: neither is ever shown to applications. */
export const HIDDEN_ATTRIBUTES: readonly Uint8Array[] = ["trusted.holdfast", "user.holdfast"].map((name) =>
  new TextEncoder().encode(name),
);

/** First identity of those that `nodeNumber` gives to objects made through its mount. */
export function firstFresh(nodeNumber: 1 | 2): number {
  return nodeNumber * TWO_45 + TWO_44;
}

/** Opens the private directory at the top of the directory behind `rootFd`, making it first. `where`: which one, for people. Throws. */
export function openPrivate(rootFd: number, where = "the replicated directory"): number {
  const made = libc.mkdirat(rootFd, privateName, 0o700);
  if (made !== -errnos.EEXIST) check(made, `cannot make ${PRIVATE_NAME} in ${where}`);
  return check(
    libc.openat(rootFd, privateName, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0),
    `cannot open ${PRIVATE_NAME} in ${where}`,
  );
}

/** Reads and writes the identities of one replicated directory. Calls return -errno where they say so and do not throw. */
export class Identities {
  private readonly attribute: number;
  private readonly base: number;
  /** Told once that an object's inode number leaves no room for an identity. */
  onTooHigh: (() => void) | null = null;

  /** `rootFd` is the top of the directory. Finds out which attribute may be used: `trusted.*` needs CAP_SYS_ADMIN. */
  constructor(
    rootFd: number,
    readonly nodeNumber: 1 | 2,
    /** Which of the module's directories this is: two of them may be on disks that number their inodes alike. */
    root = 0,
  ) {
    if (root >= MAX_ROOTS) throw new Error(`a module can replicate ${MAX_ROOTS} directories, not more`);
    this.base = nodeNumber * TWO_45 + root * TWO_40;
    const directory = openPrivate(rootFd);
    const probe = libc.fsetxattr(directory, trusted, identityAddress, 0, 0);
    libc.close(directory);
    if (probe !== -errnos.EPERM && probe !== -errnos.EOPNOTSUPP)
      check(probe, "cannot mark the replicated directory");
    this.attribute = probe < 0 ? user : trusted;
  }

  /** The identity of an object of this node that carries none. `inoHigh` is the upper half of the backing inode number. Returns -EOVERFLOW when that is too high. */
  local(inoLow: number, inoHigh: number): number {
    if (inoHigh < MAX_INO_HIGH) return this.base + inoHigh * TWO_32 + inoLow;
    this.onTooHigh?.();
    this.onTooHigh = null;
    return -errnos.EOVERFLOW;
  }

  /** Is `id` what an object of this node has that carries none? */
  isLocal(id: number, inoLow: number, inoHigh: number): boolean {
    return inoHigh < MAX_INO_HIGH && this.local(inoLow, inoHigh) === id;
  }

  /** The identity of the open object `fd` (`pathOnly`: opened with O_PATH). Returns -errno when the disk does not tell it, as `local` when it has none. */
  ofDescriptor(fd: number, pathOnly: boolean, inoLow: number, inoHigh: number): number {
    const length = pathOnly
      ? libc.getxattr(descriptorPath(fd), this.attribute, identityAddress, VALUE_LENGTH)
      : libc.fgetxattr(fd, this.attribute, identityAddress, VALUE_LENGTH);
    return this.parse(length, inoLow, inoHigh);
  }

  /** The identity of the object called `name` (bytes from `at` in `from`, NUL-terminated) in the directory `dir`. Returns as `ofDescriptor`. */
  ofName(dir: number, from: Uint8Array, at: number, inoLow: number, inoHigh: number): number {
    const length = libc.lgetxattr(childPath(dir, from, at), this.attribute, identityAddress, VALUE_LENGTH);
    return this.parse(length, inoLow, inoHigh);
  }

  /** Gives the open object its identity. Returns 0, or -errno: EPERM or EOPNOTSUPP from an object that can carry none. */
  writeDescriptor(fd: number, pathOnly: boolean, identity: number, inoLow: number, inoHigh: number): number {
    this.compose(identity, inoLow, inoHigh);
    return pathOnly
      ? libc.setxattr(descriptorPath(fd), this.attribute, identityAddress, VALUE_LENGTH, 0)
      : libc.fsetxattr(fd, this.attribute, identityAddress, VALUE_LENGTH, 0);
  }

  /** Gives the object called `name` its identity. Returns as `writeDescriptor`. */
  writeName(
    dir: number,
    from: Uint8Array,
    at: number,
    identity: number,
    inoLow: number,
    inoHigh: number,
  ): number {
    this.compose(identity, inoLow, inoHigh);
    return libc.lsetxattr(childPath(dir, from, at), this.attribute, identityAddress, VALUE_LENGTH, 0);
  }

  private compose(identity: number, inoLow: number, inoHigh: number): void {
    setU64(scratch.view, IDENTITY_VALUE, identity);
    scratch.view.setUint32(IDENTITY_VALUE + 8, inoLow, true);
    scratch.view.setUint32(IDENTITY_VALUE + 12, inoHigh, true);
  }

  private parse(length: number, inoLow: number, inoHigh: number): number {
    const { ENODATA, EOPNOTSUPP, ERANGE } = errnos;
    if (length < 0 && length !== -ENODATA && length !== -EOPNOTSUPP && length !== -ERANGE) return length;
    const view = scratch.view;
    const written =
      length === VALUE_LENGTH &&
      view.getUint32(IDENTITY_VALUE + 8, true) === inoLow &&
      view.getUint32(IDENTITY_VALUE + 12, true) === inoHigh;
    return written ? getU64(view, IDENTITY_VALUE) : this.local(inoLow, inoHigh);
  }
}
