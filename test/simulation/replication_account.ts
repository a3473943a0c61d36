/** A simulated world's account of itself: the story in words, what was counted, and which events met which phase of the primary. */

/** What a run saw, to know that it saw something. */
export interface Statistics {
  acknowledged: number;
  reintegrations: number;
  interrupted: number;
  promotions: number;
  crashes: number;
  operations: number;
  copiedBlocks: number;
  fullCopies: number;
  resumedCopies: number;
  swaps: number;
  diskErrors: number;
}

/** What is kept of it. */
export interface AccountSettings {
  /** Keep the story in words. */
  story?: boolean;
  coverage?: Map<string, number>;
}

/** See the top of the file. A base class: whoever moves the world tells it. */
export abstract class Account {
  time = 0;
  readonly story: string[] = [];
  readonly statistics: Statistics = {
    acknowledged: 0,
    reintegrations: 0,
    interrupted: 0,
    promotions: 0,
    crashes: 0,
    operations: 0,
    copiedBlocks: 0,
    fullCopies: 0,
    resumedCopies: 0,
    swaps: 0,
    diskErrors: 0,
  };
  readonly #settings: AccountSettings;

  constructor(settings: AccountSettings) {
    this.#settings = settings;
  }

  /** In which phase the primary is. */
  protected abstract phase(): string;

  tell(text: () => string): void {
    if (this.#settings.story === true) this.story.push(`${String(this.time).padStart(5)}  ${text()}`);
  }

  /** Something happened to the primary, in whatever phase it is. */
  cover(event: string): void {
    const { coverage } = this.#settings;
    if (coverage === undefined) return;
    const pair = `${this.phase()} < ${event}`;
    coverage.set(pair, (coverage.get(pair) ?? 0) + 1);
  }
}
