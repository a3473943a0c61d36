/** Where a target keeps, inside the replicated directory but out of sight, what lost its place during a reintegration. */
import { AT_REMOVEDIR, O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from "../platform/linux/constants.ts";
import { check } from "../platform/linux/errno.ts";
import { close, cString, mkdirat, openat, unlinkat } from "../platform/linux/libc.ts";
import { nameBytes } from "../replication/name_text.ts";
import { DT_DIR } from "../replication/names.ts";
import { type Identities, openPrivate } from "./identity.ts";
import { listDirectory } from "./listing.ts";
import { kernelName } from "./replica_objects.ts";

const limboName = cString("limbo").address;

/** Opens the limbo of the directory behind `rootFd`, which is `path`, making it first. Throws SystemError. */
export function openLimbo(rootFd: number, path: string): number {
  const directory = openPrivate(rootFd, path);
  mkdirat(directory, limboName, 0o700);
  const limbo = openat(directory, limboName, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  close(directory);
  return check(limbo, `cannot open ${path}/.holdfast/limbo`);
}

/** Removes everything in an open directory, at any depth. Returns 0 or the first -errno. */
export function emptyDirectory(fd: number, identities: Identities): number {
  const entries = listDirectory(fd, identities, false, null);
  if (typeof entries === "number") return entries;
  let failed = 0;
  for (const { name, type } of entries) {
    const bytes = nameBytes(name);
    if (type === DT_DIR) {
      const below = openat(
        fd,
        kernelName(bytes, 0, bytes.length),
        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
        0,
      );
      const result = below < 0 ? below : emptyDirectory(below, identities);
      if (below >= 0) close(below);
      if (result < 0) failed ||= result;
    }
    const removed = unlinkat(fd, kernelName(bytes, 0, bytes.length), type === DT_DIR ? AT_REMOVEDIR : 0);
    if (removed < 0) failed ||= removed;
  }
  return failed;
}
