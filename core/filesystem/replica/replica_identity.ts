/**
 * Identities on SECOND's copy, and its top directories: which path a connection's roots stand for.
 */
import {
  AT_EMPTY_PATH,
  F_DUPFD_CLOEXEC,
  O_CLOEXEC,
  O_DIRECTORY,
  O_RDONLY,
  STATX_BASIC_STATS,
} from "../../platform/linux/constants.ts";
import { check, errnos } from "../../platform/linux/errno.ts";
import { close, fcntl, open, statx } from "../../platform/linux/libc.ts";
import type { NameFilter } from "../objects/exclusion.ts";
import { Identities } from "../objects/identity.ts";
import { emptyString, STAT, STX_INO, scratch, statAddress } from "../objects/places.ts";
import type { TreeRoot } from "../objects/source_tree.ts";

/** The replicated directories of one module on this node, opened underneath whatever covers them later. */
export class ReplicaRoots {
  readonly fds: readonly number[];
  readonly identities: readonly Identities[];

  /** Opens `paths`, in the module's order. Throws SystemError when one cannot be opened. */
  constructor(paths: readonly string[], nodeNumber: 1 | 2) {
    this.fds = paths.map((path) =>
      check(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), `cannot open the replicated directory ${path}`),
    );
    this.identities = this.fds.map((fd, root) => new Identities(fd, nodeNumber, root));
  }

  /** The identity of an open object of the directory number `root`. `pathOnly`: opened with O_PATH. Returns -errno when it cannot be read. */
  identityOf(root: number, fd: number, pathOnly: boolean): number {
    const result = statx(fd, emptyString, AT_EMPTY_PATH, STATX_BASIC_STATS, statAddress);
    if (result < 0) return result;
    const low = scratch.view.getUint32(STAT + STX_INO, true);
    return this.identities[root]!.ofDescriptor(
      fd,
      pathOnly,
      low,
      scratch.view.getUint32(STAT + STX_INO + 4, true),
    );
  }

  /** Gives an open object its identity; leaves its attributes in STAT. Returns 0 or -errno. */
  write(root: number, fd: number, pathOnly: boolean, id: number): number {
    const result = statx(fd, emptyString, AT_EMPTY_PATH, STATX_BASIC_STATS, statAddress);
    if (result < 0) return result;
    const low = scratch.view.getUint32(STAT + STX_INO, true);
    const high = scratch.view.getUint32(STAT + STX_INO + 4, true);
    const identities = this.identities[root]!;
    if (identities.isLocal(id, low, high)) return 0;
    return identities.writeDescriptor(fd, pathOnly, id, low, high);
  }

  /** Makes the directory number `root` the object `id`. Returns a descriptor that the caller owns, or -errno. */
  adopt(root: number, id: number): number {
    const fd = this.fds[root];
    if (fd === undefined) return -errnos.EINVAL;
    const result = this.write(root, fd, false, id);
    return result < 0 ? result : fcntl(fd, F_DUPFD_CLOEXEC, 3);
  }

  /** The directories with their identities, to be walked through. */
  tops(filters: readonly (NameFilter | null)[]): TreeRoot[] {
    return this.fds.map((fd, root) => ({
      fd,
      id: this.identityOf(root, fd, false),
      identities: this.identities[root]!,
      filter: filters[root] ?? null,
    }));
  }

  /** Closes all. */
  close(): void {
    for (const fd of this.fds) close(fd);
  }
}
