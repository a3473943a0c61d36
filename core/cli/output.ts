/**
 * Where a command's words go: results on stdout, everything else on stderr; with --json one document, or one object a line.
 */
import { durationText } from "../../modules/units.ts";

/** Colours of states: the product's usual traffic light. */
const CODES = { green: 32, red: 31, yellow: 33, blue: 34, grey: 90, bold: 1 } as const;
/** One of them. */
export type Colour = keyof typeof CODES;

/** Length as a terminal shows it: without colour sequences. */
function visibleLength(text: string): number {
  return Bun.stringWidth(text);
}

/** Rows as aligned columns, two spaces apart, without trailing spaces. Colour sequences do not count as width. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows)
    for (const [index, cell] of row.entries())
      widths[index] = Math.max(widths[index] ?? 0, visibleLength(cell));
  return rows
    .map((row) =>
      row
        .map((cell, index) => cell + " ".repeat((widths[index] ?? 0) - visibleLength(cell)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** A bar of `width` characters that is full at 1. */
export function progressBar(part: number, width = 24): string {
  const filled = Math.round(Math.min(1, Math.max(0, part)) * width);
  return "█".repeat(filled) + "░".repeat(width - filled);
}

/** Whoever read stdout has gone, as head goes when it has enough: what would tell more and more ends. */
let hasNoReader = false;

/** A closed pipe is no fault of ours and ends nothing that is being done; a full disk is said, with exit status 1. */
export function mindStdout(): void {
  process.stdout.on("error", ({ code, message }: NodeJS.ErrnoException) => {
    hasNoReader = true;
    if (code === "EPIPE") return;
    process.stderr.write(`holdfast: standard output cannot be written: ${message}\n`);
    process.exit(1);
  });
  process.stderr.on("error", () => {});
}

/** A command's voice. */
export class Output {
  readonly json: boolean;
  readonly terminal: boolean;
  readonly #coloured: boolean;

  constructor(json: boolean) {
    this.json = json;
    this.terminal = !json && process.stdout.isTTY === true;
    this.#coloured = this.terminal && !process.env["NO_COLOR"] && process.env["TERM"] !== "dumb";
  }

  /** Nobody reads it any more. */
  get unread(): boolean {
    return hasNoReader;
  }

  /** `text` in a colour, on a terminal that has any. */
  paint(colour: Colour, text: string): string {
    return this.#coloured ? `\x1b[${CODES[colour]}m${text}\x1b[0m` : text;
  }

  /** Text for people, on stdout. Silent with --json. */
  say(text: string): void {
    if (!this.json) process.stdout.write(`${text}\n`);
  }

  /** The answer for programs, one document on one line. Silent without --json. */
  give(document: unknown): void {
    if (this.json) process.stdout.write(`${JSON.stringify(document)}\n`);
  }

  /** For people only, on stderr: what is wrong, or what goes on. */
  note(text: string): void {
    process.stderr.write(`${text}\n`);
  }

  /** Does `work`, which leaves no moment to count the time in: what goes on is said at once. */
  async busy<T>(what: string, work: () => Promise<T>): Promise<T> {
    if (this.json || !process.stderr.isTTY) return await work();
    process.stderr.write(`${what} …`);
    try {
      return await work();
    } finally {
      process.stderr.write("\r\x1b[2K");
    }
  }

  /** Awaits `work`; after a second says on a terminal what is waited for, and for how long. */
  async progress<T>(what: string, work: Promise<T>): Promise<T> {
    if (this.json || !process.stderr.isTTY) return await work;
    const began = performance.now();
    let shown = false;
    const timer = setInterval(() => {
      shown = true;
      process.stderr.write(`\r\x1b[2K${what} … ${durationText(performance.now() - began)}`);
    }, 1000);
    try {
      return await work;
    } finally {
      clearInterval(timer);
      if (shown) process.stderr.write("\r\x1b[2K");
    }
  }
}
