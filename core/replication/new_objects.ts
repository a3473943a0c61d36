/**
 * Objects made through the mount, by their identities, which are given out in order.
 *
 * Identities from `newFrom` on are new since the last durable point; ranges made without a peer are wholly dirty. So objects
 * need no mark each, however many are made. Identities are reserved on disk in blocks: none ever comes twice.
 */
import type { ActivityLog } from "./activity_log.ts";
import { RecordType } from "./records.ts";

/** Identities are reserved on disk in blocks of this many. */
export const IDENTITY_BLOCK = 4096;

/** The first identity that a node gives to objects made through the mount. */
export const firstNewIdentity = (nodeNumber: 1 | 2): number => nodeNumber * 2 ** 45 + 2 ** 44;

/** Identities from `from` to before `to`. */
export interface IdentityRange {
  from: number;
  to: number;
}

/** Which objects are new, and which are dirty without a mark. */
export class NewObjects {
  /** Identities from here on are new since the last durable point. */
  newFrom: number;
  /** The next identity to give out. */
  next: number;
  /** Identities below this are reserved in the log. */
  reservedTo: number;
  /** Objects made while there was no peer: wholly dirty. */
  readonly dirtyRanges: IdentityRange[] = [];
  /** The marks do not tell (first copy, a damaged file): everything is dirty. */
  everything = false;

  readonly #log: ActivityLog;
  #reservedAt = 0;
  /** Ranges whose objects have marks by now: out of force, but still on disk. */
  #resolved: IdentityRange[] = [];
  #everythingResolved = false;
  /** How many of them need no looking for any more: the peer has the names of all that exists. */
  #sent = 0;
  #everythingSent = false;
  /** The same, when the durable point under way began. */
  #settles = 0;
  #everythingSettles = false;

  constructor(nodeNumber: 1 | 2, log: ActivityLog) {
    this.#log = log;
    this.newFrom = this.next = this.reservedTo = firstNewIdentity(nodeNumber);
  }

  /** An identity that was never used; 0: its reservation is not durable yet. */
  take(): number {
    if (this.reservedTo - this.next <= IDENTITY_BLOCK / 4) {
      this.reservedTo += IDENTITY_BLOCK;
      this.#log.records.add(RecordType.RESERVED, this.reservedTo);
      this.#reservedAt = this.#log.position;
    }
    const usable = this.#log.isDurable(this.#reservedAt) ? this.reservedTo : this.reservedTo - IDENTITY_BLOCK;
    return this.next < usable ? this.next++ : 0;
  }

  /** Was the object made since the last durable point? Then it is dirty after a crash. */
  isNew(id: number): boolean {
    return id >= this.newFrom && id < this.next;
  }

  isInDirtyRange(id: number): boolean {
    for (const range of this.dirtyRanges) if (id >= range.from && id < range.to) return true;
    return false;
  }

  /** The peer comes or goes: what is new is dirty. */
  becomeDirty(): void {
    if (this.next === this.newFrom) return;
    this.dirtyRanges.push({ from: this.newFrom, to: this.next });
    this.#log.records.add(RecordType.DIRTY_RANGE, this.newFrom, this.next);
    this.advance(this.next);
  }

  /** Objects below `identity` are new no more. */
  advance(identity: number): void {
    if (identity === this.newFrom) return;
    this.newFrom = identity;
    this.#log.records.add(RecordType.NEW_FROM, identity);
  }

  /**
   * Every object made without a peer that exists now has a mark of its own. Those that were removed do not, though a crash may
   * undo that, and though the peer may still have to look into removed directories: so on disk the ranges stay until the names
   * are sent, and a durable point.
   */
  resolve(): void {
    this.#resolved.push(...this.dirtyRanges);
    this.dirtyRanges.length = 0;
    this.#everythingResolved ||= this.everything;
    this.everything = false;
  }

  /** All names are sent. */
  namesSent(): void {
    this.#sent = this.#resolved.length;
    this.#everythingSent = this.#everythingResolved;
  }

  /** The peer is gone, and with it perhaps what was sent. */
  namesLost(): void {
    this.#sent = this.#settles = 0;
    this.#everythingSent = this.#everythingSettles = false;
  }

  /** The peer's marks tell what this copy lacks: that its own do not is no matter any more. */
  peerTells(): void {
    if (!this.everythingOnDisk) return;
    this.everything = this.#everythingResolved = this.#everythingSent = this.#everythingSettles = false;
    this.#log.demandRewrite();
  }

  /** What dirty.map must still say: the ranges in force, and those that are resolved in memory only. */
  get rangesOnDisk(): readonly IdentityRange[] {
    return [...this.dirtyRanges, ...this.#resolved];
  }
  get everythingOnDisk(): boolean {
    return this.everything || this.#everythingResolved;
  }

  /** A durable point begins. */
  beginPoint(): void {
    this.#settles = this.#sent;
    this.#everythingSettles = this.#everythingSent;
  }

  /** It is confirmed: what was sent and removed before it is durable. */
  confirmPoint(): void {
    if (this.#settles > 0 || this.#everythingSettles) this.#log.demandRewrite();
    this.#resolved.splice(0, this.#settles);
    this.#sent -= this.#settles;
    if (this.#everythingSettles) this.#everythingResolved = this.#everythingSent = false;
    this.#settles = 0;
    this.#everythingSettles = false;
  }

  /** Nothing is new or dirty. */
  clear(): void {
    this.dirtyRanges.length = 0;
    this.#resolved = [];
    this.everything = this.#everythingResolved = false;
    this.newFrom = this.next;
    this.namesLost();
  }
}
