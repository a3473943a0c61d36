/** File systems whose inode numbers leave no room for the identities that both nodes share: overlayfs with xino, a huge XFS. */
import { readFileSync, readlinkSync } from "node:fs";
import { mounts } from "./mount_table.ts";

/** What is wrong with the directory that is open as `fd`, and what to do. */
export function highInodes(fd: number): string {
  const mount = Number(/^mnt_id:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1]);
  const type = mounts().find(({ id }) => id === mount)?.type ?? "unknown file system";
  const advice =
    type === "overlay" ? "mount the overlay with xino=off, or use a directory" : "use a directory";
  return `${readlinkSync(`/proc/self/fd/${fd}`)} (${type}) has inode numbers above 2^40 and cannot be replicated: ${advice} on another file system`;
}
