/**
 * Mounts that a killed replication process leaves behind: a FUSE file system without a server, or SECOND's read-only view.
 */
import { MNT_DETACH, UMOUNT_NOFOLLOW } from "../../platform/linux/constants.ts";
import { check } from "../../platform/linux/errno.ts";
import { umount2 } from "../../platform/linux/libc.ts";
import { isReadOnlyView, topMountAt } from "./mount_table.ts";

/** The source that our mounts show: by it, and by nothing else, we know what is ours to unmount. */
export const MOUNT_SOURCE = "holdfast";

/**
 * Unmounts what is ours at `path`, layer by layer; harmless when nothing is. Only for servers that are dead: their connection is
 * aborted, so no page can arrive later and a lazy unmount loses nothing. Throws SystemError.
 */
export function unmountDead(path: string): void {
  for (;;) {
    const top = topMountAt(path);
    const ours =
      top !== undefined &&
      ((top.type.startsWith("fuse") && top.source === MOUNT_SOURCE) || isReadOnlyView(top));
    if (!ours) return;
    check(umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW), `cannot unmount ${path}`);
  }
}
