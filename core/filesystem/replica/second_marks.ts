/**
 * SECOND's own marks: what it applied since the last durable point of both disks. The peer may lose that in a crash; if this node is
 * promoted then, it owes it to the peer.
 */
import { objectFor } from "../../replication/marked_objects.ts";
import type { Marks } from "../../replication/marks.ts";
import { Level } from "../../replication/marks.ts";
import { nameText } from "../../replication/name_text.ts";
import { type Frame, FrameType } from "../../replication/operation.ts";
import { ATTR_SIZE } from "../../replication/replicator.ts";
import type { ReplicaObjects } from "./replica_objects.ts";

const TYPE = 0o170000;
const DIRECTORY = 0o040000;

/** An operation was applied. */
export function touch(marks: Marks, frame: Frame): void {
  const { id } = frame;
  switch (frame.type) {
    case FrameType.WRITE:
    case FrameType.DATA:
      if (marks.coversTouch(id)) return;
      marks.touchData(id, frame.offset, frame.data.length, Level.TOUCHED);
      return;
    case FrameType.ALLOCATE:
    case FrameType.ZERO:
      if (marks.coversTouch(id)) return;
      marks.touchData(id, frame.offset, frame.length, Level.TOUCHED);
      return;
    case FrameType.CREATE:
      marks.touchNames(frame.parent, Level.TOUCHED);
      marks.touchTail(id, 0, Level.TOUCHED);
      if ((frame.mode & TYPE) === DIRECTORY) marks.touchNames(id, Level.TOUCHED);
      return;
    case FrameType.CREATE_UNNAMED:
      marks.touchTail(id, 0, Level.TOUCHED);
      return;
    case FrameType.LINK:
    case FrameType.UNLINK:
      marks.touchNames(frame.parent, Level.TOUCHED);
      return;
    case FrameType.RENAME:
      marks.touchNames(frame.parent, Level.TOUCHED);
      marks.touchNames(frame.toParent, Level.TOUCHED);
      return;
    case FrameType.SETATTR:
      if (frame.valid & ATTR_SIZE) marks.touchTail(id, frame.size, Level.TOUCHED);
      else marks.touchAttributes(id, Level.TOUCHED);
      return;
    case FrameType.OBJECT:
      if (frame.offset === 0) marks.touchWhole(id);
      else marks.touchTail(id, Math.min(frame.offset, frame.size), Level.TOUCHED);
      return;
    case FrameType.DIR_END:
      marks.touchNames(id, Level.TOUCHED);
      return;
    case FrameType.SETXATTR:
    case FrameType.REMOVEXATTR:
    case FrameType.SETFLAGS:
    case FrameType.OBJECT_END:
      if (!marks.coversTouch(id)) marks.touchAttributes(id, Level.TOUCHED);
      return;
    default:
  }
}

/** Writes down where the marked objects are, so that they are found when this connection's objects are forgotten. */
export function rememberPlaces(marks: Marks, objects: ReplicaObjects): void {
  for (const object of [...marks.objects.values()]) {
    let known = objects.get(object.id);
    let marked = object;
    while (known !== undefined && known.parent !== 0 && !known.nameless) {
      marked.place = { parent: known.parent, name: nameText(known.name) };
      marked = objectFor(marks.objects, known.parent);
      known = objects.get(known.parent);
    }
  }
}
