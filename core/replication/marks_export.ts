/** Writes marks: the dirty map of a node's disk, and the MARKS frames that tell the peer. Read again by marks_recovery.ts. */
import { BitMark, type Mark, TailMark } from "./mark.ts";
import type { Marks } from "./marks.ts";
import type { IdentityRange } from "./new_objects.ts";
import type { ObjectMarks } from "./object_marks.ts";
import { ACTIVE, DIRTY, FILE_HEADER_BYTES, fileHeader, LEFT, RecordType, RecordWriter } from "./records.ts";

/** Records are collected into MARKS frames of about this size. */
const CHUNK_BYTES = 256 * 1024;

/** Writes what is dirty about a mark; `withTouched`: as if the peer were gone. */
export function writeMark(writer: RecordWriter, mark: Mark, withTouched: boolean): void {
  if (!(mark.isDirty || (withTouched && mark.isTouched))) return;
  mark.isSaid = true;
  if (mark instanceof TailMark)
    writer.add(DIRTY | mark.kind, mark.id, withTouched ? mark.from : mark.dirtyFrom);
  else if (mark instanceof BitMark)
    writer.add(DIRTY | mark.kind, mark.id, mark.index, mark.dirtyBytes(withTouched));
  else writer.add(DIRTY | mark.kind, mark.id);
}

/** Writes what is left to do about a mark that the files may call dirty: one record, which replaces all that was said. */
export function writeLeft(writer: RecordWriter, mark: Mark): void {
  const open = mark.isDirty || mark.isTouched;
  mark.isSaid = open;
  if (mark instanceof TailMark)
    writer.add(LEFT | mark.kind, mark.id, open ? mark.from : Number.MAX_SAFE_INTEGER);
  else if (mark instanceof BitMark)
    writer.add(LEFT | mark.kind, mark.id, mark.index, open ? mark.dirtyBytes(true) : null);
  else writer.add(LEFT | mark.kind, mark.id, open ? 1 : 0);
}

/** The whole dirty.map of this epoch. */
export function writeMap(marks: Marks, epoch: number): Uint8Array {
  const writer = new RecordWriter(epoch, 0);
  writer.add(RecordType.NEW_FROM, marks.made.newFrom);
  writer.add(RecordType.RESERVED, marks.made.reservedTo);
  writeRanges(writer, marks.made.rangesOnDisk, marks.made.everythingOnDisk);
  for (const page of marks.pages()) writeMark(writer, page, true);
  for (const blob of marks.heads.packed()) writer.add(RecordType.HEADS, 0, 0, blob);
  for (const object of marks.objects.values()) {
    writePlace(writer, object);
    for (const mark of object.marks()) {
      const active = mark.activeAt >= 0;
      if (active)
        writer.add(ACTIVE | mark.kind, mark.id, mark instanceof TailMark ? mark.activeFrom : mark.index);
      writeMark(writer, mark, !active);
    }
  }
  writer.add(RecordType.END, 0);
  const records = writer.take(0);
  const map = new Uint8Array(new ArrayBuffer(FILE_HEADER_BYTES + records.length));
  map.set(fileHeader(epoch));
  map.set(records, FILE_HEADER_BYTES);
  return map;
}

/** Everything that is dirty on this copy, for the peer: the bytes of its MARKS frames. */
export function* exportMarks(marks: Marks): Generator<Uint8Array> {
  const writer = new RecordWriter(0, 0);
  writeRanges(writer, marks.dirtyRanges, marks.everything);
  if (marks.made.next > marks.made.newFrom)
    writer.add(RecordType.DIRTY_RANGE, marks.made.newFrom, marks.made.next);
  for (const page of marks.pages()) {
    writeMark(writer, page, true);
    if (writer.length >= CHUNK_BYTES) yield writer.take(0);
  }
  for (const blob of marks.heads.packed()) {
    writer.add(RecordType.HEADS, 0, 0, blob);
    if (writer.length >= CHUNK_BYTES) yield writer.take(0);
  }
  for (const object of marks.objects.values()) {
    writePlace(writer, object);
    for (const mark of object.marks()) writeMark(writer, mark, true);
    if (writer.length >= CHUNK_BYTES) yield writer.take(0);
  }
  yield writer.take(0);
}

function writeRanges(writer: RecordWriter, ranges: readonly IdentityRange[], everything: boolean): void {
  if (everything) writer.add(RecordType.EVERYTHING, 0);
  for (const range of ranges) writer.add(RecordType.DIRTY_RANGE, range.from, range.to);
}

function writePlace(writer: RecordWriter, object: ObjectMarks): void {
  if (object.place !== null) writer.add(RecordType.PLACE, object.id, object.place.parent, object.place.name);
}
