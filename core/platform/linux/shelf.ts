/**
 * A shelf for open descriptors that outlives the process which puts them there.
 *
 * It is a pair of connected sockets: a descriptor sent into one end lies in the kernel's queue, open, for as long as any process holds the other
 * end. The guardian makes the pair and keeps it; the replication process inherits it. When that process dies, its successor finds in the
 * queue what must not die with it, and nobody had to act in between.
 */
import { dlopen, FFIType } from "bun:ffi";
import { allocate, close } from "./libc.ts";
import { setU64 } from "./memory.ts";

const { i32, u32, i64_fast: i64 } = FFIType;
const c = dlopen("libc.so.6", {
  socketpair: { args: [i32, i32, i32, i64], returns: i32 },
  sendmsg: { args: [i32, i64, i32], returns: i64 },
  recvmsg: { args: [i32, i64, i32], returns: i64 },
  setsockopt: { args: [i32, i32, i32, i64, u32], returns: i32 },
}).symbols;

const AF_UNIX = 1;
/** Messages keep their borders; non-blocking, closed on exec. */
const SOCK_SEQPACKET = 5 | 0o4000 | 0o2000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const SO_SNDBUFFORCE = 32;
const MSG_PEEK = 2;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
/** The kernel takes at most 253 descriptors in one message. */
const MOST = 64;
/** Bytes of one message. */
const ROOM = 4096;

/* msghdr, iovec, control, data. */
const VECTOR = 64;
const CONTROL = 128;
const CONTROL_HEADER = 16;
const DATA = 1024;
const memory = allocate(DATA + ROOM);
const { view, bytes, address } = memory;

/** What lay on the shelf: some bytes, and the descriptors, which now belong to the caller too. */
export interface Shelved {
  note: Uint8Array;
  fds: number[];
}

function prepare(length: number, controlLength: number): void {
  bytes.fill(0, 0, CONTROL);
  setU64(view, VECTOR, address + DATA);
  setU64(view, VECTOR + 8, length);
  setU64(view, 16, address + VECTOR);
  setU64(view, 24, 1);
  setU64(view, 32, address + CONTROL);
  setU64(view, 40, controlLength);
}

/** Both ends of the pair. */
export class Shelf {
  constructor(
    /** What is sent into this end… */
    readonly front: number,
    /** …waits at this one. */
    readonly back: number,
  ) {}

  /** A new, empty shelf. Throws. */
  static make(): Shelf {
    if (c.socketpair(AF_UNIX, SOCK_SEQPACKET, 0, address + DATA) < 0)
      throw new Error("cannot make a pair of sockets to keep descriptors in: too many are open");
    const shelf = new Shelf(view.getInt32(DATA, true), view.getInt32(DATA + 4, true));
    view.setInt32(DATA, 8 << 20, true);
    // Refused without CAP_NET_ADMIN: then it holds some hundred messages.
    c.setsockopt(shelf.front, SOL_SOCKET, SO_SNDBUFFORCE, address + DATA, 4);
    return shelf;
  }

  /** Puts descriptors there; the caller's own stay open. False when it is full. */
  put(note: Uint8Array, fds: readonly number[]): boolean {
    if (fds.length > MOST || note.length > ROOM)
      throw new Error("too much at once for the shelf of descriptors");
    const length = CONTROL_HEADER + fds.length * 4;
    prepare(note.length, (length + 7) & ~7);
    bytes.set(note, DATA);
    setU64(view, CONTROL, length);
    view.setInt32(CONTROL + 8, SOL_SOCKET, true);
    view.setInt32(CONTROL + 12, SCM_RIGHTS, true);
    for (const [index, fd] of fds.entries()) view.setInt32(CONTROL + CONTROL_HEADER + index * 4, fd, true);
    return c.sendmsg(this.front, address, MSG_DONTWAIT | MSG_NOSIGNAL) === note.length;
  }

  /** The oldest message with new descriptors for what lies there, null when it is empty. It stays on the shelf. */
  look(): Shelved | null {
    return this.#receive(MSG_PEEK);
  }

  /** As `look`, and the message is gone from the shelf. */
  take(): Shelved | null {
    return this.#receive(0);
  }

  #receive(flags: number): Shelved | null {
    const controlLength = CONTROL_HEADER + MOST * 4;
    prepare(ROOM, controlLength);
    const length = c.recvmsg(this.back, address, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length <= 0) return null;
    const fds: number[] = [];
    const used = view.getUint32(40, true);
    if (used >= CONTROL_HEADER) {
      const end = view.getUint32(CONTROL, true);
      for (let at = CONTROL_HEADER; at + 4 <= end; at += 4) fds.push(view.getInt32(CONTROL + at, true));
    }
    return { note: bytes.slice(DATA, DATA + Number(length)), fds };
  }

  /** Does nothing lie there? */
  get isEmpty(): boolean {
    const found = this.look();
    for (const fd of found?.fds ?? []) close(fd);
    return found === null;
  }

  /** Lets go of all that lies there. */
  clear(): void {
    for (let found = this.take(); found !== null; found = this.take()) for (const fd of found.fds) close(fd);
  }

  /** Closes this process's ends. What lies there dies with the last process that holds them. */
  close(): void {
    close(this.front);
    close(this.back);
  }
}
