/**
 * Reads marks: those of a node's own disk after a start, those of the peer at the start of a connection.
 *
 * dirty.map is whole or worthless (it ends with END). activity.log continues the map of the same epoch; what a crash cut
 * off at its end was never relied upon. Anything else that does not add up means: everything is dirty.
 */
import { HEAD_BYTES } from "./head_marks.ts";
import { BitMark, type FlagMark, type Mark, TailMark } from "./mark.ts";
import { Marks, type MarksOptions } from "./marks.ts";
import {
  ACTIVE,
  DIRTY,
  FILE_HEADER_BYTES,
  INACTIVE,
  LEFT,
  MarkKind,
  RecordType,
  readHeader,
  readRecords,
} from "./records.ts";

/** The marks that a node goes on with after a start, and why everything is dirty if it is. */
export interface Recovered {
  marks: Marks;
  /** Null when both files were sound. */
  fault: string | null;
}

/** Reads both files (null: missing). What was active is dirty now; identities go on behind what was reserved. */
export function recoverMarks(
  options: MarksOptions,
  map: Uint8Array | null,
  log: Uint8Array | null,
): Recovered {
  const epoch = map === null ? null : readHeader(map);
  if (map === null || epoch === null)
    return worthless(options, log, map === null ? "dirty.map is missing" : "dirty.map has no sound header");
  const marks = new Marks(options, epoch);
  let ended = false;
  readRecords(map, FILE_HEADER_BYTES, epoch, 0, (type, id, extra, blob) => {
    if (type === RecordType.END) ended = true;
    else applyRecord(marks, type, id, extra, blob);
  });
  if (!ended) return worthless(options, log, "dirty.map is damaged", epoch, marks.made.reservedTo);
  const fault = applyLog(marks, epoch, log);
  if (fault !== null) return worthless(options, log, fault, epoch, marks.made.reservedTo);
  crashed(marks);
  return { marks, fault: null };
}

/** Adds what the peer exported: after both crashed, what either marked is dirty. Returns false for bytes that are not whole records. */
export function unionMarks(marks: Marks, chunk: Uint8Array): boolean {
  const { end } = readRecords(chunk, 0, 0, 0, (type, id, extra, blob) => {
    const isAbout =
      (type & 0xf0) === DIRTY ||
      type === RecordType.HEADS ||
      type === RecordType.DIRTY_RANGE ||
      type === RecordType.EVERYTHING;
    const isNewPlace = type === RecordType.PLACE && !marks.objects.get(id)?.place;
    if (isAbout || isNewPlace) applyRecord(marks, type, id, extra, blob);
  });
  return end === chunk.length;
}

/** Applies the log of the map's epoch. Returns what is wrong with it, or null. */
function applyLog(marks: Marks, epoch: number, log: Uint8Array | null): string | null {
  if (log === null || log.length === 0) return null; // The crash came between the new map and the new log.
  const logEpoch = readHeader(log);
  if (logEpoch === null) return log.length < FILE_HEADER_BYTES ? null : "activity.log has no sound header";
  if (logEpoch < epoch) return null; // Likewise: the map holds all that the old log said.
  if (logEpoch > epoch) return "activity.log is newer than dirty.map";
  const { damaged } = readRecords(log, FILE_HEADER_BYTES, epoch, 0, (type, id, extra, blob) =>
    applyRecord(marks, type, id, extra, blob),
  );
  return damaged ? "activity.log is damaged in the middle" : null;
}

/** Marks that know nothing. Identities must still never come twice: they go on far behind any that a sound record names. */
function worthless(
  options: MarksOptions,
  log: Uint8Array | null,
  why: string,
  epoch = 0,
  reservedTo = 0,
): Recovered {
  const logEpoch = log === null ? null : readHeader(log);
  const marks = new Marks(options, Math.max(epoch, logEpoch ?? 0));
  marks.made.everything = true;
  marks.made.reservedTo = Math.max(marks.made.reservedTo, reservedTo);
  if (log !== null && logEpoch !== null) {
    readRecords(log, FILE_HEADER_BYTES, logEpoch, 0, (type, id) => {
      if (type === RecordType.RESERVED) marks.made.reservedTo = Math.max(marks.made.reservedTo, id);
    });
  }
  marks.made.reservedTo += IDENTITIES_SKIPPED;
  marks.made.newFrom = marks.made.next = marks.made.reservedTo;
  return { marks, fault: why };
}

/** A damaged file may have lost this many identities' reservation. */
const IDENTITIES_SKIPPED = 2 ** 30;

/** What a crash means: active things are dirty, and so are the objects whose identities were reserved since the last durable point. */
function crashed(marks: Marks): void {
  for (const object of marks.objects.values()) {
    for (const mark of [...object.marks()]) {
      if (mark.activeAt >= 0) mark.dirtyWhole();
      mark.activeAt = -1;
      if (mark instanceof TailMark) mark.activeFrom = Number.POSITIVE_INFINITY;
      if (mark.isIdle) object.drop(mark);
    }
  }
  if (marks.made.reservedTo > marks.made.newFrom)
    marks.made.dirtyRanges.push({ from: marks.made.newFrom, to: marks.made.reservedTo });
  marks.made.newFrom = marks.made.next = marks.made.reservedTo;
}

function applyRecord(marks: Marks, type: number, id: number, extra: number, blob: Uint8Array): void {
  switch (type) {
    case RecordType.NEW_FROM:
      marks.made.newFrom = id;
      return;
    case RecordType.RESERVED:
      marks.made.reservedTo = id;
      return;
    case RecordType.DIRTY_RANGE:
      marks.made.dirtyRanges.push({ from: id, to: extra });
      return;
    case RecordType.EVERYTHING:
      marks.made.everything = true;
      return;
    case RecordType.HEADS:
      // What has marks of its own has all of them there.
      for (const head of marks.heads.addPacked(blob)) if (marks.objects.has(head)) marks.marked(head);
      return;
  }
  if (type === RecordType.PLACE) {
    marks.marked(id).place = { parent: extra, name: String.fromCharCode(...blob) };
    return;
  }
  if (isOfHead(marks, type, id, extra, blob)) return;
  const mark = markOf(marks, id, (type & 0xf) as MarkKind, extra);
  if (mark === null) return;
  if ((type & 0xf0) === DIRTY) applyDirty(mark, extra, blob);
  else if ((type & 0xf0) === LEFT) applyLeft(mark, extra, blob);
  else if ((type & 0xf0) === ACTIVE) {
    mark.activeAt = 0;
    if (mark instanceof TailMark) mark.activeFrom = Math.min(mark.activeFrom, extra);
  } else if ((type & 0xf0) === INACTIVE) {
    mark.activeAt = -1;
    if (mark instanceof TailMark) mark.activeFrom = Number.POSITIVE_INFINITY;
  }
}

/** Adds what was written of a head to the heads, as long as nothing else is said of the object. */
function isOfHead(marks: Marks, type: number, id: number, index: number, blob: Uint8Array): boolean {
  const isAlone = marks.objects.get(id) === undefined;
  if (type === (DIRTY | MarkKind.DATA) && index === 0 && blob.length === HEAD_BYTES && isAlone)
    marks.heads.addBlocks(id, blob);
  else if (type === (DIRTY | MarkKind.ATTRIBUTES) && marks.heads.has(id)) marks.heads.addAttributes(id);
  else return false;
  return true;
}

function markOf(marks: Marks, id: number, kind: MarkKind, index: number): Mark | null {
  if (kind === MarkKind.WHOLE) return marks.whole.pageFor(id);
  if (kind === MarkKind.MANY_ATTRIBUTES) return marks.attributes.pageFor(id);
  const object = marks.marked(id);
  if (kind === MarkKind.NAMES) return object.namesMark();
  if (kind === MarkKind.ATTRIBUTES) return object.attributesMark();
  if (kind === MarkKind.TAIL) return object.tailMark();
  return kind === MarkKind.DATA ? object.extentMark(index) : null;
}

function applyLeft(mark: Mark, extra: number, blob: Uint8Array): void {
  if (mark instanceof TailMark)
    mark.restate(extra === Number.MAX_SAFE_INTEGER ? Number.POSITIVE_INFINITY : extra);
  else if (mark instanceof BitMark) mark.restate(blob);
  else (mark as FlagMark).restate(extra === 1);
}

function applyDirty(mark: Mark, extra: number, blob: Uint8Array): void {
  mark.isSaid = true;
  if (mark instanceof TailMark) mark.dirtyFrom = Math.min(mark.dirtyFrom, extra);
  else if (mark instanceof BitMark) mark.addDirtyBytes(blob);
  else mark.dirtyWhole();
}
