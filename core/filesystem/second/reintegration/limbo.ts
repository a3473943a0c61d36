/** Where a target keeps, inside the replicated directory but out of sight, what lost its place during a reintegration. */
import {
  AT_REMOVEDIR,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
} from "../../../platform/linux/constants.ts";
import { check, errnos } from "../../../platform/linux/errno.ts";
import { close, cString, mkdirat, openat, unlinkat } from "../../../platform/linux/libc.ts";
import { nameBytes } from "../../../replication/name_text.ts";
import { DT_DIR, type Entry } from "../../../replication/names.ts";
import { despiteFlags } from "../../objects/flags.ts";
import { type Identities, openPrivate } from "../../objects/identity.ts";
import { Listing } from "../../objects/listing.ts";
import { kernelName, openObject } from "../../objects/object_access.ts";

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
  const emptying = emptyingDirectory(fd, identities);
  for (;;) {
    const { done, value } = emptying.next();
    if (done === true) return value;
  }
}

/** The same a little at each step: whole trees may lie there. */
export function* emptyingDirectory(fd: number, identities: Identities): Generator<undefined, number> {
  const entries: Entry[] = [];
  const listing = new Listing(fd, identities, false, null);
  try {
    for (let found = listing.next(); found !== null; found = listing.next()) {
      for (const entry of found) entries.push(entry);
      yield;
    }
    if (listing.failed !== 0) return listing.failed;
  } finally {
    listing.close();
  }
  let failed = 0;
  for (const { name, type } of entries) {
    yield;
    const bytes = nameBytes(name);
    if (type === DT_DIR) {
      const result = yield* emptyingBelow(fd, bytes, identities);
      if (result < 0) failed ||= result;
    }
    const remove = (): number =>
      unlinkat(fd, kernelName(bytes, 0, bytes.length), type === DT_DIR ? AT_REMOVEDIR : 0);
    const removed = remove();
    const result = removed === -errnos.EPERM ? removedDespite(fd, bytes, remove) : removed;
    if (result < 0) failed ||= result;
  }
  return failed;
}

/** It may have another name elsewhere, and carry flags again that forbid to take this one away. */
function removedDespite(directory: number, name: Uint8Array, remove: () => number): number {
  const fd = openObject(directory, kernelName(name, 0, name.length), true);
  if (fd < 0) return fd;
  const result = despiteFlags(() => fd, -errnos.EPERM, remove);
  close(fd);
  return result;
}

function* emptyingBelow(fd: number, name: Uint8Array, identities: Identities): Generator<undefined, number> {
  const at = kernelName(name, 0, name.length);
  const below = openat(fd, at, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
  if (below < 0) return below;
  try {
    return yield* emptyingDirectory(below, identities);
  } finally {
    close(below);
  }
}
