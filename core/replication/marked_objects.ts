/** The objects that have marks, and the directories above them, for their places. A plain Map: it is asked for each operation. */
import type { HeadMarks } from "./head_marks.ts";
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

/** Moves the marks of objects that are at rest and simply dirty to where they take little room: nothing more is dirty after it than before. */
export function fold(
  objects: MarkedObjects,
  whole: MarkPages,
  attributes: MarkPages,
  heads: HeadMarks,
): void {
  for (const object of objects.values()) {
    if (!isAtRest(object) || heads.take(object)) continue;
    const { tail, extents } = object;
    const isWhole = tail?.dirtyFrom === 0 && object.attributes?.isDirty;
    if (isWhole) whole.set(object.id, Level.DIRTY);
    else if (tail === null && extents.size === 0) attributes.set(object.id, Level.DIRTY);
    else continue;
    object.dropContent();
  }
}

function isAtRest(object: ObjectMarks): boolean {
  if (object.isGone || !object.hasDirtyContent) return false;
  for (const mark of object.marks())
    if (
      mark !== object.names &&
      (mark.activeAt >= 0 || mark.isTouched || mark.listedNow || mark.listedBefore)
    )
      return false;
  return true;
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
