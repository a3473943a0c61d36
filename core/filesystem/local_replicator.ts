/** A replicator without a peer: everything is admitted, nothing is sent, everything is settled. For a mount that stands alone. */
import type { Replicator } from "../replication/replicator.ts";
import { firstFresh } from "./identity.ts";

/** Gives identities from `counter` on; who makes it sees to it that no counter is used twice on one directory. */
export class LocalReplicator implements Replicator {
  private next: number;
  constructor(nodeNumber: 1 | 2, counter = 1) {
    this.next = firstFresh(nodeNumber) + counter;
  }
  beforeData(): boolean {
    return true;
  }
  beforeNames(): boolean {
    return true;
  }
  beforeAttributes(): boolean {
    return true;
  }
  newIdentity(): number {
    return this.next++;
  }
  write(): number {
    return 0;
  }
  allocate(): number {
    return 0;
  }
  create(): number {
    return 0;
  }
  createUnnamed(): number {
    return 0;
  }
  link(): number {
    return 0;
  }
  unlink(): number {
    return 0;
  }
  rename(): number {
    return 0;
  }
  setAttributes(): number {
    return 0;
  }
  setXattr(): number {
    return 0;
  }
  removeXattr(): number {
    return 0;
  }
  setFlags(): number {
    return 0;
  }
  forget(): void {}
  sync(): number {
    return 0;
  }
  isAcknowledged(_sequence: number): boolean {
    return true;
  }
  isSettled(_ticket: number): boolean {
    return true;
  }
}
