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
import { O_CLOEXEC, O_CREAT, O_RDWR } from "../platform/linux/constants.ts";
import { check } from "../platform/linux/errno.ts";
import { allocate, close, fdatasync, ftruncate, open, pwrite } from "../platform/linux/libc.ts";
import type { Marks, MarksOptions } from "../replication/marks.ts";
import { recoverMarks } from "../replication/marks_recovery.ts";
import { type Completion, Job, type Pool } from "./pool.ts";

const ROOM = 1 << 20;

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
      this.rewrite();
      return true;
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

  completed(_: number, result: number): void {
    this.#busy = false;
    if (result < 0) this.failure = `activity.log cannot be synced (errno ${-result})`;
    else this.marks.logged(this.#upTo);
  }

  /** Makes all that the marks say durable now. Throws. */
  flush(): void {
    if (this.#busy) {
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
    this.rewrite();
  }

  /** Puts a new dirty map in place and starts the log anew. Throws. */
  rewrite(): void {
    const map = this.marks.startRewrite();
    const path = join(this.#directory, "dirty.map");
    const file = openSync(`${path}.new`, "w", 0o600);
    writeSync(file, map);
    fsyncSync(file);
    closeSync(file);
    renameSync(`${path}.new`, path);
    const directory = openSync(this.#directory, "r");
    fsyncSync(directory);
    closeSync(directory);
    const header = this.marks.rewritten();
    check(ftruncate(this.#log, 0), "cannot truncate activity.log");
    this.#append(header, 0);
    check(fdatasync(this.#log), "cannot sync activity.log");
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
