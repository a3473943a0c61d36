/**
 * SECOND: its disk's side of the durable points that the source numbers (durable_points.ts). What was applied before one is synced,
 * then the number recorded. A connection that ends takes the points under way with it.
 */
import { errnoName } from "../../platform/linux/errno.ts";
import type { CopyRecord, KnownCopy } from "../copy/copy_record.ts";
import type { Host } from "../host.ts";
import type { TouchedObjects } from "../replica/touched_objects.ts";

/** See the top of the file. */
export class SecondPoints {
  readonly #host: Host;
  readonly #touched: TouchedObjects;
  readonly #record: CopyRecord;
  readonly #failed: () => void;
  /** Which connection: what was begun for another is not heard. */
  #connection = 0;
  /** The source's copy, and its last durable point: it begins the next one only when the last is on its disk. */
  #source: KnownCopy = { id: "", counter: 0 };
  /** The point that it asked for last. */
  #asked = 0;

  /** `failed` ends the connection: a point did not reach this disk. */
  constructor(host: Host, touched: TouchedObjects, record: CopyRecord, failed: () => void) {
    this.#host = host;
    this.#failed = failed;
    this.#touched = touched;
    this.#record = record;
  }

  /** A source said which copy it has. */
  greeted(id: string, counter: number): void {
    this.#source = { id, counter };
    this.#asked = counter;
  }

  /** Point `number`: `done` is called when all that was applied so far is on this disk. */
  make(number: number, done: (number: number) => void): void {
    // The same number again: it did not reach the source's disk.
    if (number > this.#asked) this.#source = { ...this.#source, counter: this.#asked };
    this.#asked = number;
    this.#begin(number, false, done);
  }

  /** The same for the point at which the copies are equal: it is on the source's disk, and whatever else is on these disks counts too. */
  makeEqual(number: number, done: (number: number) => void): void {
    this.#source = { ...this.#source, counter: number };
    this.#asked = number;
    this.#begin(number, true, done);
  }

  /** The connection is over. */
  clear(): void {
    this.#connection++;
    this.#touched.clear();
  }

  #begin(number: number, everything: boolean, done: (number: number) => void): void {
    const connection = this.#connection;
    const source = this.#source;
    const recorded = (errno: number): void => {
      if (this.#connection === connection) this.#ended(number, errno, done);
    };
    this.#touched.sync(everything, (errno) => {
      if (errno === 0) this.#record.write(number, source, recorded);
      else recorded(errno);
    });
  }

  #ended(number: number, errno: number, done: (number: number) => void): void {
    if (errno === 0) {
      this.#host.counters.durablePoints++;
      done(number);
      return;
    }
    const detail = `a durable point failed on this copy: ${errnoName(errno)}`;
    this.#host.report({ kind: "diskFailed", detail });
    this.#failed();
  }
}
