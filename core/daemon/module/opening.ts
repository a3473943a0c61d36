/**
 * How a module comes back with its daemon: what survived is read, what still runs goes on, and whatever else is left of an earlier life is
 * cleared away.
 *
 * What was found waits here until the failover core begins, which may be long after: its peer must have the same revision first, and its
 * secrets must be here.
 */
import type { ModuleDefinition } from "../../../modules/load.ts";
import type { DurableRecord } from "../../failover/types.ts";
import { sharedClock } from "../../platform/shared_clock.ts";
import type { VirtualAddresses } from "../addresses/virtual_addresses.ts";
import type { GuardianLink, Welcome } from "../guardian/link.ts";
import type { Journal } from "../journal.ts";
import { replicationOf } from "../replication/config.ts";
import type { Replacement } from "../replication/replacement.ts";
import type { ReplicationReports } from "../replication/reports.ts";
import { type Adopted, adopt } from "./adoption.ts";
import type { ModuleExecutor } from "./executor.ts";
import type { ModuleFacts } from "./facts.ts";
import type { ModulePeers } from "./peers.ts";
import type { RecordFile } from "./record.ts";

/** What a module is opened with. */
export interface OpeningParts {
  facts: ModuleFacts;
  /** What the guardian had kept when this daemon came. */
  welcome: Welcome;
  guardian: GuardianLink;
  record: RecordFile;
  executor: ModuleExecutor;
  addresses: VirtualAddresses;
  peers: ModulePeers;
  replication: ReplicationReports;
  journal: Journal;
  /** As it is at that moment. */
  definition(): ModuleDefinition;
  /** What another replication process needs to know. */
  replacement(): Omit<Replacement, "generations">;
}

/** What the core begins with. */
export interface Found {
  record: DurableRecord;
  /** What goes on, or null. */
  adopted: Adopted | null;
}

/** See the top of the file. */
export class ModuleOpening {
  #found: Found | null = null;
  #damage = "";
  readonly #opened = Promise.withResolvers<void>();

  constructor(private readonly parts: OpeningParts) {}

  /** Resolves when it is known what survived. */
  get done(): Promise<void> {
    return this.#opened.promise;
  }

  /** What was found; null before that, and once the core has it. */
  get found(): Found | null {
    return this.#found;
  }

  /** Why it cannot be known what survived, or "". Nothing runs then, and the core is not told to begin. */
  get damage(): string {
    return this.#damage;
  }

  /** The core has it from now on. */
  take(): Found | null {
    const found = this.#found;
    this.#found = null;
    return found;
  }

  /** Returns whether the module is to start now, as after a boot. */
  async open(): Promise<boolean> {
    const { facts, welcome, executor, definition } = this.parts;
    const record = await this.#read();
    executor.output.follow();
    if (record === null) return false;
    // Services that run, of a module that did not, are nobody's earlier life.
    if (record.running) await this.#lookAtServices();
    const adopted = await this.#adopt(record);
    if (!adopted) await this.#clearAway();
    // What the guardian had kept is of one life only: this module may be loaded anew.
    delete welcome.settled[definition().name];
    const setting = facts.boot ?? definition().config.boot;
    if (!adopted) await executor.lookAtCopy();
    this.#found = { record, adopted };
    this.#opened.resolve();
    return adopted === null && (setting === "always" || (setting === "auto" && record.running));
  }

  /** Null: there was a record, and nobody can tell what it said. What still runs then has nobody who keeps its promises. */
  async #read(): Promise<DurableRecord | null> {
    const { record, journal } = this.parts;
    try {
      this.#damage = "";
      return await record.read();
    } catch (error) {
      const { message } = error as Error;
      journal.line("error", message);
      await this.#clearAway();
      this.#damage = message;
      this.#opened.resolve();
      return null;
    }
  }

  /** Goes on without the record that is damaged: a person has said which copy counts. */
  async renounce(): Promise<void> {
    await this.parts.record.putAside();
    this.parts.journal.line(
      "warning",
      "The damaged record is put aside, since this copy is replaced or taken as it is",
    );
    await this.open();
  }

  /** A systemd that does not answer is no reason not to look at what runs: the start says it again. */
  async #lookAtServices(): Promise<void> {
    try {
      await this.parts.executor.lookAtServices();
    } catch (error) {
      this.parts.journal.line("warning", `services: ${(error as Error).message}`);
    }
  }

  /** What still runs goes on; null: nothing of it can be used. */
  async #adopt({ generations }: DurableRecord): Promise<Adopted | null> {
    const { welcome, executor, addresses, peers, replication, journal } = this.parts;
    const replicates = replicationOf(this.parts.definition()) !== null;
    const replacement = { ...this.parts.replacement(), generations: () => generations };
    const found = await adopt(welcome, replicates, replacement, (text) => journal.line("warning", text));
    if (found === null) return null;
    const { state, inSync, tookOver } = found;
    // Whether the peer can be asked must be known first.
    if (tookOver) peers.onceContactKnown(() => replication.streamEnded());
    journal.line("event", `The daemon is back: ${state} goes on, nothing was restarted`);
    if (state !== "SECOND") {
      executor.arm();
      void addresses.adopt();
    }
    const until = welcome.rights?.[this.parts.definition().name];
    // The guardian's clock is the shared one.
    return until === undefined
      ? { state, inSync }
      : { state, inSync, until: performance.now() + until - sharedClock() };
  }

  /** Nothing of an earlier life may run beside the new one. */
  async #clearAway(): Promise<void> {
    const { guardian, executor, addresses, journal, definition } = this.parts;
    executor.arm();
    const { ok, detail } = await guardian.fence(definition().name);
    if (!ok) journal.line("warning", `what was left of an earlier run: ${detail}`);
    addresses.down();
  }
}
