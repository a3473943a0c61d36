/**
 * A few threads for calls that may block: fsync, cold reads, unmounting. The loop asks and goes on; an eventfd tells it
 * that something is done. Jobs wait in a queue of fixed size when all threads are busy.
 */
import { EFD_CLOEXEC, EFD_NONBLOCK } from "../../platform/linux/constants.ts";
import { check } from "../../platform/linux/errno.ts";
import { allocate, close, drainEvent, eventfd, signalEvent } from "../../platform/linux/libc.ts";
import type { Memory } from "../../platform/linux/memory.ts";
import { compiled } from "../../platform/self.ts";
import type { WorkerStart } from "./pool_slot.ts";
import {
  ADDRESS,
  ASKED,
  DONE,
  ENDING,
  FD,
  FREE,
  KIND,
  LENGTH,
  OFFSET,
  RESULT,
  SLOT_BYTES,
  STARTING,
  STATE,
} from "./pool_slot.ts";

export { Job } from "./pool_slot.ts";

/** Who asked hears the result here, in the loop's thread. `data` is the thread's buffer, good until the method returns. */
export interface Completion {
  completed(cookie: number, result: number, data: Memory): void;
}

/** Compiled, worker files lie in the binary's own file system, below the root of the build; a relative path would be looked up in the current directory. */
const workerFile = compiled
  ? "/$bunfs/root/core/filesystem/loop/pool_worker.js"
  : new URL("./pool_worker.ts", import.meta.url).href;

const START_LIMIT_MS = 20_000;
const QUEUE = 1024;
/** The largest read through a thread's own buffer: what one FUSE request may ask for. */
export const POOL_BUFFER = 1 << 20;

/** The threads of one process. */
export class Pool {
  /** Readable when jobs are done: call `drain`. */
  readonly eventFd: number;
  private readonly workers: Worker[] = [];
  private readonly words: Int32Array[] = [];
  private readonly doubles: Float64Array[] = [];
  private readonly buffers: Memory[] = [];
  private readonly wakeFds: number[] = [];
  private readonly running: (Completion | null)[] = [];
  private readonly cookies: number[] = [];
  /* The queue: a ring of jobs as numbers. */
  private readonly kinds = new Int32Array(QUEUE);
  private readonly fds = new Int32Array(QUEUE);
  private readonly lengths = new Int32Array(QUEUE);
  private readonly offsets = new Float64Array(QUEUE);
  private readonly addresses = new Float64Array(QUEUE);
  private readonly queuedCookies = new Float64Array(QUEUE);
  private readonly owners: (Completion | null)[] = new Array<Completion | null>(QUEUE).fill(null);
  private head = 0;
  private queued = 0;

  private readonly apart: boolean;

  /**
   * Starts `threads` of them; each costs a few MB. Threads that are `apart` hold no descriptor of this process. What waits for a
   * mount runs there: killed in the middle, a thread that shared the descriptors would keep the mount's own open, and wait for ever
   * for a server that is dead.
   */
  constructor(threads = 4, apart = false) {
    this.apart = apart;
    this.eventFd = check(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), "cannot make an eventfd for the pool");
    for (let i = 0; i < threads; i++) this.start();
    // The loop never sees a worker's events: a thread that does not come up must be found here.
    for (const words of this.words) {
      Atomics.wait(words, STATE, STARTING, START_LIMIT_MS);
      if (Atomics.load(words, STATE) === STARTING)
        throw new Error(`a thread of the pool did not start (${workerFile})`);
    }
  }

  private start(): void {
    const shared = new SharedArrayBuffer(SLOT_BYTES);
    const buffer = allocate(POOL_BUFFER);
    const words = new Int32Array(shared);
    words[STATE] = STARTING;
    const wakeFd = check(eventfd(0, EFD_CLOEXEC), "cannot make an eventfd for a thread of the pool");
    const worker = new Worker(workerFile);
    worker.unref();
    worker.postMessage({
      shared,
      eventFd: this.eventFd,
      wakeFd,
      buffer: buffer.address,
      apart: this.apart,
    } satisfies WorkerStart);
    this.workers.push(worker);
    this.words.push(words);
    this.doubles.push(new Float64Array(shared));
    this.buffers.push(buffer);
    this.wakeFds.push(wakeFd);
    this.running.push(null);
    this.cookies.push(0);
  }

  /** Jobs not yet completed. */
  get pending(): number {
    let busy = 0;
    for (const owner of this.running) if (owner !== null) busy++;
    return busy + this.queued;
  }

  /**
   * Asks for a call (`Job.*`). `fd` must stay open until it is completed. `address` 0 reads into the thread's buffer.
   * False when the queue is full: try again after a `drain`.
   */
  submit(
    kind: number,
    fd: number,
    offset: number,
    length: number,
    address: number,
    owner: Completion,
    cookie: number,
  ): boolean {
    for (let i = 0; i < this.workers.length; i++) {
      if (this.running[i] === null) {
        this.assign(i, kind, fd, offset, length, address, owner, cookie);
        return true;
      }
    }
    if (this.queued === QUEUE) return false;
    const at = (this.head + this.queued++) % QUEUE;
    this.kinds[at] = kind;
    this.fds[at] = fd;
    this.lengths[at] = length;
    this.offsets[at] = offset;
    this.addresses[at] = address;
    this.queuedCookies[at] = cookie;
    this.owners[at] = owner;
    return true;
  }

  /** Delivers what is done and hands out what waits. Returns how many were done. */
  drain(): number {
    drainEvent(this.eventFd);
    let done = 0;
    for (let i = 0; i < this.workers.length; i++) {
      const words = this.words[i]!;
      const owner = this.running[i];
      if (!owner || Atomics.load(words, STATE) !== DONE) continue;
      done++;
      const result = words[RESULT]!;
      owner.completed(this.cookies[i]!, result, this.buffers[i]!);
      Atomics.store(words, STATE, FREE);
      this.running[i] = null;
      if (this.queued > 0) this.assignQueued(i);
    }
    return done;
  }

  /** Ends the threads. Nothing may be pending. */
  close(): void {
    for (const [thread, words] of this.words.entries()) {
      Atomics.store(words, STATE, ENDING);
      signalEvent(this.wakeFds[thread]!);
    }
    // Their descriptors stay: a thread may be just about to read its own.
    close(this.eventFd);
  }

  private assignQueued(thread: number): void {
    const at = this.head;
    this.head = (at + 1) % QUEUE;
    this.queued--;
    const owner = this.owners[at]!;
    this.owners[at] = null;
    this.assign(
      thread,
      this.kinds[at]!,
      this.fds[at]!,
      this.offsets[at]!,
      this.lengths[at]!,
      this.addresses[at]!,
      owner,
      this.queuedCookies[at]!,
    );
  }

  private assign(
    thread: number,
    kind: number,
    fd: number,
    offset: number,
    length: number,
    address: number,
    owner: Completion,
    cookie: number,
  ): void {
    const words = this.words[thread]!;
    const doubles = this.doubles[thread]!;
    words[KIND] = kind;
    words[FD] = fd;
    words[LENGTH] = length;
    doubles[OFFSET] = offset;
    doubles[ADDRESS] = address;
    this.running[thread] = owner;
    this.cookies[thread] = cookie;
    Atomics.store(words, STATE, ASKED);
    signalEvent(this.wakeFds[thread]!);
  }
}
