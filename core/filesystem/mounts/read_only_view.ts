/**
 * SECOND's directory, read-only: the copy is applied underneath, through descriptors that were opened before the view was laid over it.
 */
import {
  MNT_DETACH,
  MS_BIND,
  MS_PRIVATE,
  MS_RDONLY,
  MS_REMOUNT,
  UMOUNT_NOFOLLOW,
} from "../../platform/linux/constants.ts";
import { check } from "../../platform/linux/errno.ts";
import { mount, umount2 } from "../../platform/linux/libc.ts";
import { isReadOnlyView, topMountAt } from "./mount_table.ts";

/** Makes `path` read-only for everybody who comes by its name. Open the directory for writing before. Throws SystemError. */
export function coverReadOnly(path: string): void {
  check(mount(path, path, "", MS_BIND, ""), `cannot bind ${path} over itself`);
  check(mount("", path, "", MS_PRIVATE, ""), `cannot make the view of ${path} private`);
  const result = mount("", path, "", MS_REMOUNT | MS_BIND | MS_RDONLY, "");
  if (result < 0) umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
  check(result, `cannot make ${path} read-only`);
}

/** Takes the view away; harmless when there is none. Readers that still have files open keep them. Throws SystemError. */
export function uncover(path: string): void {
  const top = topMountAt(path);
  if (top === undefined || !isReadOnlyView(top)) return;
  check(umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW), `cannot unmount the read-only view of ${path}`);
}
