/**
 * What the loser of a split brain had written, kept aside before it is overwritten (G5): every object that its marks say it
 * changed since the peers parted, as files with their paths, and a report.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  fsyncSync,
  lutimesSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../platform/linux/constants.ts";
import { check, isAbsent, SystemError } from "../platform/linux/errno.ts";
import { close, syncfs } from "../platform/linux/libc.ts";
import type { Marks } from "../replication/marks.ts";
import { DT_DIR, type Entry } from "../replication/names.ts";
import { Frame } from "../replication/operation.ts";
import { readAttributes, readTarget } from "./attributes.ts";
import type { Host } from "./host.ts";
import { KnownPlaces } from "./known_places.ts";
import { BackingTree, type TreeRoot } from "./source_tree.ts";

/** What was kept, for the log. */
interface SavedCopy {
  directory: string;
  files: number;
  bytes: number;
}

/** One line of the report. Paths are UTF-8 where the names are. */
interface SavedObject {
  path: string;
  kind: "file" | "directory" | "symlink" | "other";
  bytes: number;
}

/**
 * Both nodes wrote alone, and the copy in `roots` (in the module's order) gives way: what it has is kept aside before its first byte
 * changes. Throws when it cannot be kept whole, and nothing is lost.
 */
export function saveChanges(host: Host, roots: readonly TreeRoot[], marks: Marks): void {
  const tree = new BackingTree(roots, new KnownPlaces(), marks);
  const tops = roots.map(({ id }) => id);
  const saved = copyAside(host.config.savedDir, marks, tree, tops);
  tree.close();
  if (saved === null) host.log("info", "both nodes went on alone, but this one had changed nothing");
  else
    host.log(
      "warning",
      `both nodes had written alone; what this one wrote is kept in ${saved.directory} (${saved.files} objects, ${saved.bytes} bytes; see report.json)`,
    );
}

/**
 * Copies what is dirty to a fresh directory under `savedDir`. `tops` are the replicated directories. Returns null when nothing was changed. Throws when it cannot be kept whole: then nothing may be overwritten.
 */
function copyAside(
  savedDir: string,
  marks: Marks,
  tree: BackingTree,
  tops: readonly number[],
): SavedCopy | null {
  const changed = changedObjects(marks, tree, tops);
  if (changed.size === 0) return null;
  const directory = join(savedDir, new Date().toISOString().replace(/[:.]/g, "-"));
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  try {
    return keep(directory, tree, changed);
  } catch (error) {
    // It is tried again: what was kept of it half is of no use.
    rmSync(directory, { recursive: true, force: true });
    throw error;
  }
}

function keep(directory: string, tree: BackingTree, changed: ReadonlySet<number>): SavedCopy {
  const objects: SavedObject[] = [];
  for (const id of changed) {
    // Only what was found has a place that is known to be true.
    const fd = tree.open(id);
    if (fd >= 0) close(fd);
    const place = pathOf(tree, id);
    const object = place === null ? null : saveObject(directory, tree, id, place);
    if (object !== null) objects.push(object);
  }
  const bytes = objects.reduce((sum, object) => sum + object.bytes, 0);
  const report = {
    why: "both nodes wrote alone; this node gave way, and these are the objects that it had changed since the two parted",
    saved: new Date().toISOString(),
    objects,
  };
  writeFileSync(join(directory, "report.json"), `${JSON.stringify(report, null, 2)}\n`);
  const fd = openSync(directory, "r");
  check(syncfs(fd), `cannot sync ${directory}`);
  fsyncSync(fd);
  closeSync(fd);
  return { directory, files: objects.length, bytes };
}

/** Identities of all that is dirty; objects made alone have no marks of their own, but lie in dirty directories. */
function changedObjects(marks: Marks, tree: BackingTree, tops: readonly number[]): Set<number> {
  const changed = new Set<number>(marks.dirtyObjects());
  const ahead = marks.everything ? [...tops] : [...marks.dirtyDirectories()];
  const seen = new Set<number>();
  for (let directory = ahead.pop(); directory !== undefined; directory = ahead.pop()) {
    if (seen.has(directory)) continue;
    seen.add(directory);
    changed.add(directory);
    const entries: Entry[] | number = tree.list(directory);
    if (typeof entries === "number") {
      if (isAbsent(entries)) continue;
      throw new SystemError(
        -entries,
        `cannot list the directory ${directory.toString(16)}, which is to be kept`,
      );
    }
    for (const { id, type } of entries) {
      if (!marks.everything && !marks.mayLack(id)) continue;
      changed.add(id);
      if (type === DT_DIR) ahead.push(id);
    }
  }
  return changed;
}

/** Where the object is kept: the number of its replicated directory, then its path in it. One character per byte. */
function pathOf(tree: BackingTree, id: number): string | null {
  const path = tree.pathOf(id);
  return path === null ? null : join(String(path.root), ...path.names);
}

function saveObject(directory: string, tree: BackingTree, id: number, place: string): SavedObject | null {
  const fd = tree.open(id);
  if (isAbsent(fd)) return null;
  check(fd, `cannot open ${place}, which is to be kept`);
  const frame = new Frame();
  check(readAttributes(fd, frame), `cannot read the attributes of ${place}`);
  const to = Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(place, "latin1")]);
  mkdirSync(Buffer.from(dirname(to.toString("latin1")), "latin1"), { recursive: true, mode: 0o700 });
  const type = frame.mode & S_IFMT;
  const path = Buffer.from(place, "latin1").toString("utf8");
  try {
    if (type === S_IFREG) {
      copyFileSync(`/proc/self/fd/${fd}`, to);
      chownSync(to, frame.uid, frame.gid);
      chmodSync(to, frame.mode & 0o7777);
      lutimesSync(to, frame.atime, frame.mtime);
      return { path, kind: "file", bytes: frame.size };
    }
    if (type === S_IFDIR) {
      mkdirSync(to, { recursive: true });
      return { path, kind: "directory", bytes: 0 };
    }
    if (type !== S_IFLNK) return { path, kind: "other", bytes: 0 };
    const target = readTarget(fd);
    if (typeof target === "number")
      throw new SystemError(-target, `cannot read ${place}, which is to be kept`);
    symlinkSync(Buffer.from(target), to);
    return { path, kind: "symlink", bytes: 0 };
  } finally {
    close(fd);
  }
}
