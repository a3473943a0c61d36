/**
 * What a farm's node remembers over a restart of its daemon, and of the machine: how often it left, that it is being drained, where the others are, and
 * which buckets it has from them.
 */
import type { Gained } from "../../farm/gained.ts";
import { afterLeaving, heldFor, NEVER_LEFT } from "../../farm/patience.ts";
import type { Journal } from "../journal.ts";
import { type ModuleFacts, writeModuleFacts } from "../module/facts.ts";

type FarmFacts = NonNullable<ModuleFacts["farm"]>;
const BLANK: FarmFacts = { isOpen: false, leavings: { ...NEVER_LEFT, at: [] }, drained: null };

/** See the top of the file. */
export class FarmMemory {
  constructor(
    private readonly varDir: string,
    private readonly facts: ModuleFacts,
    private readonly journal: Journal,
  ) {}

  get #farm(): FarmFacts {
    return this.facts.farm ?? BLANK;
  }

  /** Resolves when it is on disk; a disk that refuses is told, and costs only the memory. */
  async #change(change: Partial<FarmFacts>): Promise<void> {
    this.facts.farm = { ...this.#farm, ...change };
    try {
      await writeModuleFacts(this.varDir, this.facts);
    } catch (error) {
      this.journal.line("error", `what the farm's node remembers is not kept: ${(error as Error).message}`);
    }
  }

  /** Does it take clients, or did it when it was heard of last? */
  get isOpen(): boolean {
    return this.#farm.isOpen;
  }

  /** It takes clients from now on, or no more. */
  set isOpen(isOpen: boolean) {
    if (isOpen !== this.#farm.isOpen) void this.#change({ isOpen });
  }

  /** A start that finds that the last one ended without a word. */
  begin(): void {
    if (!this.#farm.isOpen) return;
    this.facts.farm = { ...this.#farm, isOpen: false };
    this.left("its machine or its daemon died");
  }

  /** It has left the others, or was cut off from them. */
  left(why: string): void {
    const leavings = afterLeaving(this.#farm.leavings, Date.now());
    void this.#change({ leavings: { ...leavings, at: [...leavings.at] } });
    const pause = heldFor(leavings, Date.now());
    if (pause > 0)
      this.journal.line(
        "warning",
        `${why}: it left too often, and is held back for ${Math.round(pause / 1000)} s`,
      );
  }

  /** Until when it is held back, for people; null: it is not. */
  get heldUntil(): string | null {
    const { leavings } = this.#farm;
    if (heldFor(leavings, Date.now()) === 0) return null;
    return `left ${leavings.at.length} times within 10 minutes, and is held back until ${new Date(leavings.until).toISOString().slice(11, 19)} UTC`;
  }

  /** For how long it is still drained at most, ms; null: it is not. */
  get drainedFor(): number | null {
    const { drained } = this.#farm;
    return drained === null ? null : Math.max(0, drained - Date.now());
  }

  /** A person has it drained for so long. */
  async drain(timeoutMs: number): Promise<void> {
    await this.#change({ drained: Date.now() + timeoutMs });
  }

  /** A person starts it anew: nothing that it did before counts. */
  async forget(): Promise<void> {
    if (this.facts.farm !== undefined) await this.#change(BLANK);
  }

  /** By other node, the MAC address that it had when it was heard last, as long as it took part then. */
  get macs(): Readonly<Record<string, string>> {
    return this.#farm.macs ?? {};
  }

  set macs(macs: Record<string, string>) {
    if (!Bun.deepEquals(macs, this.macs)) void this.#change({ macs });
  }

  /** Which buckets came to this node; times are those of `performance.now()` here, and the wall clock's on disk. */
  get gained(): Gained {
    return later(this.#farm.gained ?? [], -performance.timeOrigin);
  }

  set gained(gained: Gained) {
    if (gained.length > 0 || this.gained.length > 0)
      void this.#change({ gained: later(gained, performance.timeOrigin) });
  }
}

/** The same by a clock that is ahead by so much, ms. */
function later(gained: Gained, by: number): Gained {
  return gained.map(([bucket, former, at]) => [bucket, former, at + by]);
}
