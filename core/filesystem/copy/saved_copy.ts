/**
 * What the loser of a split brain had written, kept aside before it is overwritten (G5): every object that its marks say it
 * changed since the peers parted, as files with their paths, and a report. What it removed or renamed shows in the report too: there are
 * all names of each directory whose names it changed.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../../platform/linux/constants.ts";
import { check, isAbsent, SystemError } from "../../platform/linux/errno.ts";
import { close, syncfs } from "../../platform/linux/libc.ts";
import type { Marks } from "../../replication/marks.ts";
import { DT_DIR, type Entry } from "../../replication/names.ts";
import { Frame } from "../../replication/operation.ts";
import type { Host } from "../host.ts";
import { readAttributes, readTarget } from "../objects/attributes.ts";
import { KnownPlaces } from "../objects/known_places.ts";
import { BackingTree, type TreeRoot } from "../objects/source_tree.ts";
import { keepDirectory, keepFile } from "./kept_objects.ts";

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
  /** Extended attributes that the file system under the var directory does not take. */
  lacks?: readonly string[];
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
    return keep(directory, tree, changed, marks);
  } catch (error) {
    // It is tried again: what was kept of it half is of no use.
    rmSync(directory, { recursive: true, force: true });
    throw error;
  }
}

function keep(directory: string, tree: BackingTree, changed: ReadonlySet<number>, marks: Marks): SavedCopy {
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
    directories: [...changed].flatMap((id) => namesIn(tree, marks, id)),
  };
  writeFileSync(join(directory, "report.json"), `${JSON.stringify(report, null, 2)}\n`, { mode: 0o600 });
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

/** All names of a directory, where some of them were changed: what is not there was removed, what was not kept was only renamed. */
function namesIn(tree: BackingTree, marks: Marks, id: number): { path: string; names: string[] }[] {
  if (!marks.everything && !marks.areNamesDirty(id)) return [];
  const place = pathOf(tree, id);
  const entries = tree.list(id);
  if (place === null || typeof entries === "number") return [];
  const names = entries.map(({ name }) => inWords(name)).sort((a, b) => (a < b ? -1 : 1));
  return [{ path: inWords(place), names }];
}

/** For people, of one character per byte. */
const inWords = (path: string): string => Buffer.from(path, "latin1").toString("utf8");

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
  const path = inWords(place);
  try {
    if (type === S_IFREG) return { path, kind: "file", bytes: frame.size, ...keepFile(fd, frame, to) };
    if (type === S_IFDIR) return { path, kind: "directory", bytes: 0, ...keepDirectory(fd, frame, to) };
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
