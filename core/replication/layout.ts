/**
 * The frames of the stream between the two copies, and the fields of each, in wire order.
 *
 * One table serves encoding, decoding and the tests: a field cannot be written in one order and read in another.
 */

/** Frame types. Operations carry results, not intentions. Numbers are the wire's: never reuse one. */
export const FrameType = {
  // Both directions, at the start of a connection.
  HELLO: 1,
  MARKS: 2,
  MARKS_END: 3,
  GOODBYE: 4,
  PING: 5,
  // Source to target: live operations.
  ROOT: 16,
  BIND: 17,
  CREATE: 18,
  CREATE_UNNAMED: 19,
  LINK: 20,
  UNLINK: 21,
  RENAME: 22,
  WRITE: 23,
  ALLOCATE: 24,
  SETATTR: 25,
  SETXATTR: 26,
  REMOVEXATTR: 27,
  SETFLAGS: 28,
  FORGET: 29,
  SYNC: 30,
  DURABLE_POINT: 31,
  /** The last durable point is on both disks, and recorded. */
  SETTLED: 32,
  // Source to target: reintegration.
  PLACE: 48,
  PLACES_END: 49,
  DIR_NAMES: 50,
  DIR_END: 51,
  OBJECT: 52,
  DATA: 53,
  ZERO: 54,
  OBJECT_END: 55,
  CAUGHT_UP: 56,
  IN_SYNC: 57,
  VERIFY: 58,
  PLACE_RANGE: 59,
  // Target to source.
  ACK: 80,
  SYNC_DONE: 81,
  DURABLE_DONE: 82,
  APPLY_FAILED: 83,
  NEED: 84,
  READY: 85,
  CAUGHT_UP_DONE: 86,
  VERIFIED: 87,
} as const;
/** One of them. */
export type FrameType = (typeof FrameType)[keyof typeof FrameType];

/**
 * How a field travels. `id`: an identity, not 0; `id0`: 0 allowed; `size`: 0 to 2^53 - 1; `time`: any safe integer;
 * `entry`: a name in a directory (1 to 255 bytes, no slash, no NUL, not "." or ".."); `label`: a name of an extended
 * attribute; `bytes`: the rest.
 */
export type FieldKind = "u32" | "id" | "id0" | "size" | "time" | "entry" | "label" | "bytes";

/** Fields of a frame that are numbers, with what they mean in each frame. */
export interface FrameNumbers {
  /** The object. In DIR_NAMES and DIR_END, the directory. */
  id: number;
  parent: number;
  toParent: number;
  /** Type and permissions (st_mode); in ALLOCATE, fallocate's mode. */
  mode: number;
  rdev: number;
  uid: number;
  gid: number;
  /** UNLINK: 1 for a directory. RENAME: renameat2's. SETFLAGS, OBJECT_END: FS_IOC_SETFLAGS bits. PLACE: 1 if its names are dirty. NEED: 1 for a directory. SYNC: 1 for data only. DURABLE_POINT: 1 if the source's marks tell all that the target lacks. HELLO: protocol version. */
  flags: number;
  /** SETATTR: a mask of ATTR_*. */
  valid: number;
  offset: number;
  length: number;
  size: number;
  atime: number;
  atimeNanos: number;
  mtime: number;
  mtimeNanos: number;
  /** Result times of directories, see ResultTimes. In RENAME, those of the old parent. */
  parentSeconds: number;
  parentNanos: number;
  /** RENAME: those of the new parent. */
  toSeconds: number;
  toNanos: number;
  /** SYNC, SYNC_DONE, VERIFY, VERIFIED: the asker's ticket. DURABLE_POINT, DURABLE_DONE, SETTLED, CAUGHT_UP, ROOT, PING: a number. */
  ticket: number;
  /** ACK: everything up to this sequence is applied. APPLY_FAILED: the sequence that failed. */
  applied: number;
  /** ACK: everything up to this sequence is in the peer's hands (received and queued, safe from a crash of the sender). */
  inHands: number;
  errno: number;
}
/** Fields that are stretches of bytes. */
export type FrameBlob = "name" | "toName" | "data";
/** A field and how it travels. */
export type Field =
  | readonly [keyof FrameNumbers, "u32" | "id" | "id0" | "size" | "time"]
  | readonly [FrameBlob, "entry" | "label" | "bytes"];

const ID = ["id", "id"] as const;
const PARENT = ["parent", "id"] as const;
const NAME = ["name", "entry"] as const;
const DATA = ["data", "bytes"] as const;
const TICKET = ["ticket", "size"] as const;
const OFFSET = ["offset", "size"] as const;
const LENGTH = ["length", "size"] as const;
const FLAGS = ["flags", "u32"] as const;
const OWNER = [["mode", "u32"] as const, ["uid", "u32"] as const, ["gid", "u32"] as const];
const PARENT_TIMES = [["parentSeconds", "time"] as const, ["parentNanos", "u32"] as const];
const MTIME = [["mtime", "time"] as const, ["mtimeNanos", "u32"] as const];
const TIMES = [["atime", "time"] as const, ["atimeNanos", "u32"] as const, ...MTIME];

/** The fields of each frame. `data` of HELLO is JSON; of MARKS, records (records.ts); of DIR_NAMES, entries; of OBJECT, extended attributes (packed.ts). */
export const LAYOUT: Readonly<Record<FrameType, readonly Field[]>> = {
  [FrameType.HELLO]: [FLAGS, DATA],
  [FrameType.MARKS]: [DATA],
  [FrameType.MARKS_END]: [],
  [FrameType.GOODBYE]: [DATA],
  [FrameType.PING]: [TICKET],
  [FrameType.ROOT]: [ID, TICKET],
  [FrameType.BIND]: [ID, PARENT, ["mode", "u32"], NAME],
  [FrameType.CREATE]: [ID, PARENT, ...OWNER, ["rdev", "size"], ...PARENT_TIMES, NAME, DATA],
  [FrameType.CREATE_UNNAMED]: [ID, PARENT, ...OWNER],
  [FrameType.LINK]: [ID, PARENT, ...PARENT_TIMES, NAME],
  [FrameType.UNLINK]: [["id", "id0"], PARENT, FLAGS, ...PARENT_TIMES, NAME],
  [FrameType.RENAME]: [
    PARENT,
    ["toParent", "id"],
    FLAGS,
    ...PARENT_TIMES,
    ["toSeconds", "time"],
    ["toNanos", "u32"],
    NAME,
    ["toName", "entry"],
  ],
  [FrameType.WRITE]: [ID, OFFSET, DATA],
  [FrameType.ALLOCATE]: [ID, ["mode", "u32"], OFFSET, LENGTH],
  [FrameType.SETATTR]: [ID, ["valid", "u32"], ...OWNER, ["size", "size"], ...TIMES],
  [FrameType.SETXATTR]: [ID, ["name", "label"], DATA],
  [FrameType.REMOVEXATTR]: [ID, ["name", "label"]],
  [FrameType.SETFLAGS]: [ID, FLAGS],
  [FrameType.FORGET]: [ID],
  [FrameType.SYNC]: [["id", "id0"], FLAGS, TICKET],
  [FrameType.DURABLE_POINT]: [TICKET, FLAGS],
  [FrameType.SETTLED]: [TICKET],
  // `parent` 0: a replicated directory itself, or one that was removed; the name says nothing then.
  [FrameType.PLACE]: [ID, ["parent", "id0"], FLAGS, NAME],
  // Directories with identities from `id` to before `parent` are dirty, also those that the source does not have any more.
  [FrameType.PLACE_RANGE]: [ID, PARENT],
  [FrameType.PLACES_END]: [],
  // An empty one begins a directory anew: what was told of its names before counts no more.
  [FrameType.DIR_NAMES]: [ID, DATA],
  [FrameType.DIR_END]: [ID, ...PARENT_TIMES],
  // `offset`: what the target holds from here on is worthless: cut there, then extend to `size` (holes stay holes).
  // Flags and times come with the end: there are many objects with little data.
  [FrameType.OBJECT]: [ID, ...OWNER, ["rdev", "u32"], ["size", "size"], OFFSET, DATA],
  [FrameType.DATA]: [ID, OFFSET, DATA],
  [FrameType.ZERO]: [ID, OFFSET, LENGTH],
  [FrameType.OBJECT_END]: [ID, FLAGS, ...TIMES],
  [FrameType.CAUGHT_UP]: [TICKET, DATA],
  [FrameType.IN_SYNC]: [TICKET],
  [FrameType.VERIFY]: [TICKET, ["id", "id0"], OFFSET, LENGTH, DATA],
  [FrameType.ACK]: [
    ["applied", "size"],
    ["inHands", "size"],
  ],
  [FrameType.SYNC_DONE]: [TICKET, ["errno", "u32"]],
  [FrameType.DURABLE_DONE]: [TICKET, ["errno", "u32"]],
  [FrameType.APPLY_FAILED]: [["applied", "size"], ["errno", "u32"], DATA],
  // Its sequence is that of the frame that made the object.
  [FrameType.NEED]: [ID, FLAGS],
  [FrameType.READY]: [DATA],
  [FrameType.CAUGHT_UP_DONE]: [TICKET],
  [FrameType.VERIFIED]: [TICKET, ["errno", "u32"], DATA],
};
