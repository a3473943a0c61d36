/** The data path's story: frames of the stream in words. */

import { BLOCK_BYTES } from "../../core/replication/marks.ts";
import { Frame, FrameType } from "../../core/replication/operation.ts";

const NAMES = new Map(Object.entries(FrameType).map(([name, code]) => [code as number, name]));

/** The type of an encoded frame. */
export function frameName(bytes: Uint8Array): string {
  const type = new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true);
  return NAMES.get(type) ?? `type ${type}`;
}

/** One line about an encoded frame. */
export function frameInWords(bytes: Uint8Array): string {
  const frame = new Frame();
  frame.decode(bytes, 0, bytes.length);
  const name = frameName(bytes);
  switch (frame.type) {
    case FrameType.WRITE:
    case FrameType.DATA: {
      const first = frame.offset / BLOCK_BYTES;
      const count = frame.data.length / 8;
      return `${name}: blocks ${first} to ${first + count - 1} of ${short(frame.id)}`;
    }
    case FrameType.CREATE:
    case FrameType.LINK:
    case FrameType.UNLINK:
      return `${name}: ${frame.name.key()} in ${short(frame.parent)}`;
    case FrameType.RENAME:
      return `${name}: ${frame.name.key()} in ${short(frame.parent)} to ${frame.toName.key()} in ${short(frame.toParent)}`;
    case FrameType.DURABLE_POINT:
    case FrameType.CAUGHT_UP:
    case FrameType.PLACES_END:
      return name;
    default:
      return `${name}: ${short(frame.id)}`;
  }
}

/** Identities are long numbers: the last digits tell them apart. */
const short = (id: number): string => `#${id % 10_000}`;
