/**
 * The activity log and the dirty map on disk: written in the background, so that no operation waits for them unless it must.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { O_CLOEXEC, O_CREAT, O_RDWR } from "../../platform/linux/constants.ts";
import { check } from "../../platform/linux/errno.ts";
import { allocate, close, fdatasync, fsync, ftruncate, open, pwrite } from "../../platform/linux/libc.ts";
import type { Marks, MarksOptions } from "../../replication/marks.ts";
import { recoverMarks } from "../../replication/marks_recovery.ts";
import { type Completion, Job, type Pool } from "../loop/pool.ts";

const ROOM = 1 << 20;
/** Not a map: the pool synced the log. */
const LOG = 0;

/** Marks, and the two files that they live in. */
export class MarksStore implements Completion {
  readonly marks: Marks;
  /** Why everything is dirty, if the files were missing or damaged. */
  readonly fault: string | null;
  readonly #directory: string;
  readonly #pool: Pool;
  readonly #log: number;
  readonly #room = allocate(ROOM);
  #busy = false;
  #upTo = 0;
  /** The new map that is on its way to the disk: its file or, once that is in place, its directory; -1: none is. */
  #syncing = -1;
  #isInPlace = false;
  /** Which map that is: one that was overtaken by another is not waited for. */
  #turn = LOG;
  /** dirty.map says that everything is dirty. */
  #saysEverything = false;
  /** A write of the log failed: nothing is admitted any more. */
  failure: string | null = null;

  /** Reads what `stateDir` holds. `fresh`: begin with nothing marked, whatever is there. Throws. */
  constructor(stateDir: string, pool: Pool, options: MarksOptions) {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    this.#directory = stateDir;
    this.#pool = pool;
    const read = (name: string): Uint8Array | null => {
      const path = join(stateDir, name);
      return existsSync(path) ? new Uint8Array(readFileSync(path)) : null;
    };
    const recovered = recoverMarks(options, read("dirty.map"), read("activity.log"));
    this.marks = recovered.marks;
    this.fault = recovered.fault;
    const path = join(stateDir, "activity.log");
    this.#log = check(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600), `cannot open ${path}`);
    this.rewrite();
  }

  /** Writes what the marks ask for. Returns true when something that was waited for became durable since the last call. */
  pump(): boolean {
    if (this.#busy || this.failure !== null) return false;
    if (this.marks.wantsRewrite) {
      this.#beginRewrite();
      return false;
    }
    const batch = this.marks.takeLog();
    if (batch === null) return false;
    this.#append(batch.bytes, batch.at);
    this.#upTo = batch.upTo;
    this.#busy = true;
    if (!this.#pool.submit(Job.FDATASYNC, this.#log, 0, 0, 0, this, 0)) {
      this.completed(0, fdatasync(this.#log));
      return true;
    }
    return false;
  }

  completed(turn: number, result: number): void {
    if (turn !== LOG) {
      this.#rewriteFurther(turn, result);
      return;
    }
    this.#busy = false;
    if (result < 0) this.failure = `activity.log cannot be synced (errno ${-result})`;
    else this.marks.logged(this.#upTo);
  }

  /** Makes all that the marks say durable now. Throws. */
  flush(): void {
    if (this.#syncing >= 0) this.rewrite();
    else if (this.#busy) {
      check(fdatasync(this.#log), "cannot sync activity.log");
      this.marks.logged(this.#upTo);
    }
    for (let batch = this.marks.takeLog(); batch !== null; batch = this.marks.takeLog()) {
      this.#append(batch.bytes, batch.at);
      check(fdatasync(this.#log), "cannot sync activity.log");
      this.marks.logged(batch.upTo);
    }
    if (this.marks.wantsRewrite) this.rewrite();
  }

  /** The marks do not tell what the copies hold differently: everything is dirty from now on, whatever happens. Throws. */
  forget(): void {
    this.marks.everything = true;
    if (!this.#saysEverything || this.#syncing >= 0) this.rewrite();
  }

  /** Puts a new dirty map in place and starts the log anew. Throws. */
  rewrite(): void {
    // One that a thread syncs is overtaken: what it was waited for, this one says.
    this.#turn++;
    if (this.#syncing >= 0) this.#busy = false;
    this.#syncing = -1;
    const file = this.#write();
    fsyncSync(file);
    closeSync(file);
    const directory = this.#putInPlace();
    fsyncSync(directory);
    closeSync(directory);
    this.#beginLog();
    check(fdatasync(this.#log), "cannot sync activity.log");
  }

  /** The same, synced by the pool: the loop serves an application meanwhile. */
  #beginRewrite(): void {
    this.#busy = true;
    this.#isInPlace = false;
    this.#sync(this.#write());
  }

  #sync(fd: number): void {
    this.#syncing = fd;
    const turn = ++this.#turn;
    // By `fd`, which is closed when the thread is done with it, whoever overtook this map.
    const completed = (_: number, result: number): void => {
      closeSync(fd);
      this.completed(turn, result);
    };
    if (!this.#pool.submit(Job.FSYNC, fd, 0, 0, 0, { completed }, 0)) completed(0, fsync(fd));
  }

  #rewriteFurther(turn: number, result: number): void {
    if (turn !== this.#turn) return;
    this.#syncing = -1;
    if (result < 0) this.failure = `dirty.map cannot be synced (errno ${-result})`;
    else if (!this.#isInPlace) {
      this.#isInPlace = true;
      this.#sync(this.#putInPlace());
      return;
    } else this.#beginLog();
    this.#busy = false;
  }

  /** Writes a new map beside the old one. Returns its descriptor. */
  #write(): number {
    const map = this.marks.startRewrite();
    this.#saysEverything = this.marks.owesEverything;
    const file = openSync(`${this.#map}.new`, "w", 0o600);
    writeSync(file, map);
    return file;
  }

  /** Returns a descriptor of the directory, which is to be synced. */
  #putInPlace(): number {
    renameSync(`${this.#map}.new`, this.#map);
    return openSync(this.#directory, "r");
  }

  /** The map says all that the log said. */
  #beginLog(): void {
    const header = this.marks.rewritten();
    check(ftruncate(this.#log, 0), "cannot truncate activity.log");
    this.#append(header, 0);
  }

  get #map(): string {
    return join(this.#directory, "dirty.map");
  }

  /** Makes everything durable and closes. The log must not be busy in the pool: drain it first. */
  close(): void {
    this.flush();
    close(this.#log);
  }

  get busy(): boolean {
    return this.#busy;
  }

  #append(bytes: Uint8Array, at: number): void {
    for (let done = 0; done < bytes.length; done += ROOM) {
      const part = bytes.subarray(done, done + ROOM);
      this.#room.bytes.set(part);
      const count = pwrite(this.#log, this.#room.address, part.length, at + done);
      check(count === part.length ? count : Math.min(count, -28), "cannot write activity.log");
    }
  }
}
