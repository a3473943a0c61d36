/** Marks with their two files on a disk: what tests of a crash, and of a copy, begin with. */
import { Marks, type MarksOptions } from "../../core/replication/marks.ts";
import { recoverMarks } from "../../core/replication/marks_recovery.ts";

/** Bytes. */
export const MIB = 1024 * 1024;
const options: MarksOptions = {
  nodeNumber: 1,
  placeOf: (id) => ({ parent: id === 1 ? 0 : 1, name: `n${id}` }),
};

/** A node's two files: what a crash leaves of its marks. */
export class Disk {
  map: Uint8Array | null = null;
  log = new Uint8Array(0);

  /** Writes everything that the marks want written. */
  flush(marks: Marks): void {
    if (marks.wantsRewrite) {
      this.map = marks.startRewrite();
      this.log = marks.rewritten() as Uint8Array<ArrayBuffer>;
    }
    const part = marks.takeLog();
    if (part === null) return;
    const longer = new Uint8Array(part.at + part.bytes.length);
    longer.set(this.log);
    longer.set(part.bytes, part.at);
    this.log = longer;
    marks.logged(part.upTo);
  }
}

/** Marks of a node that has just met its peer, and the disk under them. */
export function fresh(more: Partial<MarksOptions> = {}): { marks: Marks; disk: Disk } {
  const marks = new Marks({ ...options, ...more });
  const disk = new Disk();
  disk.flush(marks);
  marks.peerBack();
  return { marks, disk };
}

/** What a crash leaves of them. */
export const recovered = (disk: Pick<Disk, "map" | "log">, more: Partial<MarksOptions> = {}) =>
  recoverMarks({ ...options, ...more }, disk.map, disk.log);

/** Copies an object as reintegration does: the attributes, then its data piece by piece. Returns the pieces. */
export function copyObject(marks: Marks, id: number, size: number, most: number): number[] {
  marks.copiedAttributes(id);
  const pieces: number[] = [];
  for (let range = marks.nextDirty(id, size, most); range !== null; range = marks.nextDirty(id, size, most)) {
    pieces.push(range.offset, range.length);
    marks.copiedData(id, range, size);
  }
  return pieces;
}
