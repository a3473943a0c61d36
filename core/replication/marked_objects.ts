/** The objects that have marks, and the directories above them, for their places. A plain Map: it is asked for each operation. */
import { Level, type Mark } from "./mark.ts";
import type { MarkPages } from "./mark_pages.ts";
import { ObjectMarks } from "./object_marks.ts";

/** By identity. */
export type MarkedObjects = Map<number, ObjectMarks>;

/** The marks of an object, empty ones if there were none. */
export function objectFor(objects: MarkedObjects, id: number): ObjectMarks {
  let object = objects.get(id);
  if (object === undefined) {
    object = new ObjectMarks(id);
    objects.set(id, object);
  }
  return object;
}

/** Lets go of a mark that says nothing. The object itself stays until the next rewrite: somebody up the stack may hold it. */
export function dropIfIdle(objects: MarkedObjects, mark: Mark): void {
  if (mark.isIdle) objects.get(mark.id)?.drop(mark);
}

/** Data in the first blocks only, as small files have it: copying such a file as a whole costs little more. */
const SMALL_BLOCKS = 16;

/** Moves the marks of objects that are at rest and simply dirty into pages. */
export function foldIntoPages(objects: MarkedObjects, whole: MarkPages, attributes: MarkPages): void {
  for (const object of objects.values()) {
    const pages = pagesFor(object);
    if (pages === null) continue;
    (pages === "whole" ? whole : attributes).set(object.id, Level.DIRTY);
    object.dropContent();
  }
}

function pagesFor(object: ObjectMarks): "whole" | "attributes" | null {
  const { tail, extents } = object;
  if (object.isGone || !object.hasDirtyContent) return null;
  for (const mark of object.marks())
    if (
      mark !== object.names &&
      (mark.activeAt >= 0 || mark.isTouched || mark.listedNow || mark.listedBefore)
    )
      return null;
  if (tail === null && extents.size === 0) return "attributes";
  if (tail !== null && tail.dirtyFrom > 0) return null;
  for (const extent of extents.values())
    if (tail === null && (extent.index > 0 || extent.lastDirty >= SMALL_BLOCKS)) return null;
  return "whole";
}

/** Objects are kept while they are marked, and as directories above marked ones, for their places. */
export function forgetUnmarked(objects: MarkedObjects): void {
  const needed = new Set<number>();
  for (const object of objects.values()) {
    let next: ObjectMarks | undefined = object.isEmpty ? undefined : object;
    for (; next !== undefined && !needed.has(next.id); next = objects.get(next.place?.parent ?? 0))
      needed.add(next.id);
  }
  for (const id of objects.keys()) if (!needed.has(id)) objects.delete(id);
}
