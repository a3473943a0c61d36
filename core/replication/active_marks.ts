/**
 * The marks that are active in the log on disk: a thing is before it is changed (rule 1 of marks.ts), and what leaves has its dirty bits
 * on disk first (rule 3).
 */
import { ActiveSet } from "./active_set.ts";
import type { ActivityLog } from "./activity_log.ts";
import type { Mark, TailMark } from "./mark.ts";
import { dropIfIdle, type MarkedObjects, objectFor } from "./marked_objects.ts";
import type { MarksOptions } from "./marks.ts";
import { writeMark } from "./marks_export.ts";
import type { ObjectMarks } from "./object_marks.ts";
import { ACTIVE, INACTIVE, MarkKind, type Place, RecordType } from "./records.ts";

const DEFAULT_ACTIVE_EXTENTS = 256;
const DEFAULT_ACTIVE_ITEMS = 4096;

/** See the top of the file. */
export class ActiveMarks {
  /** Full of what waits for a durable point: make one now. */
  wantsPoint = false;
  readonly #objects: MarkedObjects;
  readonly #log: ActivityLog;
  readonly #placeOf: (id: number) => Place | null;
  readonly #data: ActiveSet;
  readonly #items: ActiveSet;

  constructor(options: MarksOptions, objects: MarkedObjects, log: ActivityLog) {
    this.#objects = objects;
    this.#log = log;
    this.#placeOf = options.placeOf;
    this.#data = new ActiveSet(options.activeExtents ?? DEFAULT_ACTIVE_EXTENTS);
    this.#items = new ActiveSet(options.activeItems ?? DEFAULT_ACTIVE_ITEMS);
  }

  /** Extents that may be active at once. */
  get mostExtents(): number {
    return this.#data.capacity;
  }

  /** Is the mark active, durably? If not, it is on its way to the log, or waits for room (`wantsPoint`). */
  admit(object: ObjectMarks, mark: Mark): boolean {
    const set = this.#setOf(mark);
    if (mark.activeAt >= 0) {
      set.use(mark);
      return this.#log.isDurable(mark.activeAt);
    }
    if (set.isFull && !this.#evict(set)) {
      dropIfIdle(this.#objects, mark);
      return false;
    }
    if (object.place === null) this.#rememberPlace(object);
    this.activate(mark);
    return false;
  }

  /** A mark that is not active becomes so with the next record that is durable. */
  activate(mark: Mark): void {
    const tail = mark.kind === MarkKind.TAIL ? (mark as TailMark) : null;
    if (tail !== null) tail.activeFrom = Math.min(tail.activeFrom, tail.from);
    this.#log.records.add(ACTIVE | mark.kind, mark.id, tail?.activeFrom ?? mark.index);
    mark.activeAt = this.#log.position;
    this.#setOf(mark).add(mark);
  }

  /** The mark need not be active any more; what the log says of it stays. */
  deactivate(mark: Mark): void {
    if (mark.activeAt < 0) return;
    this.#setOf(mark).remove(mark);
    mark.activeAt = -1;
  }

  #evict(set: ActiveSet): boolean {
    const mark = set.victim();
    if (set.isCrowded) this.wantsPoint = true;
    if (mark === null) return false;
    writeMark(this.#log.records, mark, false);
    this.#log.records.add(INACTIVE | mark.kind, mark.id, mark.index);
    this.deactivate(mark);
    if (mark.kind === MarkKind.TAIL) (mark as TailMark).activeFrom = Number.POSITIVE_INFINITY;
    dropIfIdle(this.#objects, mark);
    return true;
  }

  /** Remembers where the object is, and its directories up to the top. */
  #rememberPlace(object: ObjectMarks): void {
    for (let next: ObjectMarks = object; next.place === null; ) {
      const place = this.#placeOf(next.id);
      if (place === null) return;
      next.place = place;
      this.#log.records.add(RecordType.PLACE, next.id, place.parent, place.name);
      if (place.parent === 0) return;
      next = objectFor(this.#objects, place.parent);
    }
  }

  #setOf(mark: Mark): ActiveSet {
    return mark.kind === MarkKind.DATA ? this.#data : this.#items;
  }
}
