/**
 * What the demo shows: events as they happen, one live line below them on a terminal, and the timeline at the end.
 */
import { durationText } from "../../../modules/units.ts";
import { type Colour, columns, type Output } from "../output.ts";

const STATE_COLOURS: Record<string, Colour> = { PRIM: "green", ALONE: "yellow", SECOND: "blue", off: "red" };
const LETTERS: Record<string, string> = {
  PRIM: "P",
  ALONE: "A",
  SECOND: "S",
  WAIT: "w",
  STOP: "-",
  off: "×",
};
const TIMELINE_WIDTH = 72;

/** A change, at ms since the demo began. */
interface Change {
  at: number;
  state: string;
}

/** The demo's screen. */
export class Display {
  readonly #began = performance.now();
  readonly #changes = new Map<string, Change[]>();
  /** Times at which the client was answered. */
  readonly #answers: number[] = [];
  #live = "";

  constructor(private readonly output: Output) {}

  /** ms since the demo began. */
  get elapsed(): number {
    return performance.now() - this.#began;
  }

  /** A line that stays. */
  event(text: string, data: Record<string, unknown> = {}): void {
    this.#clear();
    this.output.say(`${(this.elapsed / 1000).toFixed(1).padStart(6)} s  ${text}`);
    this.output.give({ at: Math.round(this.elapsed), event: text, ...data });
    this.#draw();
  }

  /** A headline. */
  chapter(text: string): void {
    this.#clear();
    this.output.say(`\n${this.output.paint("bold", text)}`);
    this.output.give({ at: Math.round(this.elapsed), chapter: text });
    this.#draw();
  }

  /** The state of a node; only a change is shown. */
  state(node: string, state: string, why: string): void {
    const changes = this.#changes.get(node) ?? [];
    const before = changes.at(-1)?.state;
    if (before === state) return;
    this.#changes.set(node, [...changes, { at: this.elapsed, state }]);
    this.event(
      `${node}  ${before ? `${this.#paint(before)} → ` : ""}${this.#paint(state)}${why ? `  ${this.output.paint("grey", why)}` : ""}`,
      { node, state },
    );
  }

  /** The client was answered now. */
  answered(): void {
    this.#answers.push(this.elapsed);
  }

  /** Rows acknowledged so far. */
  get rows(): number {
    return this.#answers.length;
  }

  /** Redraws the live line. */
  live(extra = ""): void {
    const nodes = [...this.#changes].map(
      ([node, changes]) => `${node} ${this.#paint(changes.at(-1)!.state)}`,
    );
    const second = this.elapsed - 1000;
    let recent = 0;
    while (recent < this.#answers.length && this.#answers[this.#answers.length - 1 - recent]! > second)
      recent++;
    const silent = this.#answers.length > 0 ? this.elapsed - this.#answers.at(-1)! : 0;
    const client =
      this.#answers.length === 0
        ? ""
        : `client ${this.rows} rows, ${silent > 250 ? this.output.paint("red", `waiting for ${durationText(silent)}`) : `${recent}/s`}`;
    this.#live = [...nodes, client, extra].filter((part) => part !== "").join("   ");
    this.#clear();
    this.#draw();
  }

  /** Ends the live line. */
  end(): void {
    this.#clear();
    this.#live = "";
  }

  /** One letter for each slice of time: states of the nodes, and how many rows the client got through. */
  timeline(): string {
    const total = this.elapsed;
    const slices = Array.from(
      { length: TIMELINE_WIDTH },
      (_, index) => ((index + 1) / TIMELINE_WIDTH) * total,
    );
    const rows = [...this.#changes].map(([node, changes]) => [
      `  ${node}`,
      slices.map((end) => this.#slice(changes.findLast((change) => change.at <= end)?.state ?? "")).join(""),
    ]);
    const counts = slices.map(
      (end, index) => this.#answers.filter((at) => at <= end && at > (slices[index - 1] ?? 0)).length,
    );
    const most = Math.max(1, ...counts);
    rows.push([
      "  client",
      counts.map((count) => (count === 0 ? " " : "▁▂▃▄▅▆▇█"[Math.ceil((count / most) * 8) - 1]!)).join(""),
    ]);
    rows.push(["", `0 s${`${(total / 1000).toFixed(0)} s`.padStart(TIMELINE_WIDTH - 3)}`]);
    return `${columns(rows)}\n  P PRIM  S SECOND  A ALONE  w WAIT  - STOP  × no power   client: rows acknowledged`;
  }

  #slice(state: string): string {
    const letter = LETTERS[state] ?? " ";
    const colour = STATE_COLOURS[state];
    return colour ? this.output.paint(colour, letter) : letter;
  }

  #paint(state: string): string {
    const colour = STATE_COLOURS[state];
    return colour ? this.output.paint(colour, state) : state;
  }

  #clear(): void {
    if (this.output.terminal) process.stdout.write("\r\x1b[2K");
  }

  #draw(): void {
    if (this.output.terminal && this.#live !== "") process.stdout.write(`  ${this.#live}`);
  }
}
