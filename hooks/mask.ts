/**
 * Stars in the place of secrets, in a text that comes in pieces.
 *
 * A value may come cut anywhere: what could be the beginning of one is held back until what follows shows what it is. Hidden are each value as a
 * whole, and each of its lines, without the white space around them. Other spellings (base64, URL, JSON) of a value are not known.
 */

/** Shorter texts would blank out half of the log, and hide nothing. */
const SHORTEST = 3;
const STARS = "***";

/** Texts to hide, found by how they begin: a position costs the same however many there are. */
export class Mask {
  /** By their first three characters. */
  readonly #byStart = new Map<string, Set<string>>();
  /** What texts begin with, one or two characters. */
  readonly #starts = new Set<string>();
  /** A bit for each first three characters: nearly every position of a text is passed over with it. */
  readonly #bits = new Uint8Array(1 << 16);
  #longest = 0;
  /** What may be the beginning of a secret. */
  #held = "";

  /** Nothing is hidden. */
  get isEmpty(): boolean {
    return this.#longest === 0;
  }

  /** Hides these too, from now on. */
  hide(values: Iterable<Uint8Array | string>): void {
    for (const value of values) {
      const text = typeof value === "string" ? value : new TextDecoder().decode(value);
      for (const part of [text, ...text.split("\n")].map((one) => one.trim()))
        if (part.length >= SHORTEST) this.#add(part);
    }
  }

  #add(text: string): void {
    const start = text.slice(0, SHORTEST);
    const known = this.#byStart.get(start) ?? new Set();
    this.#byStart.set(start, known.add(text));
    this.#starts.add(text.slice(0, 1)).add(text.slice(0, 2));
    this.#bits[hashAt(text, 0)] = 1;
    this.#longest = Math.max(this.#longest, text.length);
  }

  #startingAt(text: string, index: number): Iterable<string> {
    if (index + SHORTEST > text.length || this.#bits[hashAt(text, index)] === 0) return [];
    return this.#byStart.get(text.slice(index, index + SHORTEST)) ?? [];
  }

  /** Where secrets are: from, to. Those that touch or overlap are one. */
  #places(text: string): [number, number][] {
    const places: [number, number][] = [];
    for (let index = 0; index < text.length; index++) {
      let end = 0;
      for (const hidden of this.#startingAt(text, index))
        if (index + hidden.length > end && text.startsWith(hidden, index)) end = index + hidden.length;
      if (end === 0) continue;
      const last = places.at(-1);
      if (last && index <= last[1]) last[1] = Math.max(last[1], end);
      else places.push([index, end]);
    }
    return places;
  }

  /** Does a secret begin here, and the text end before it does? */
  #beginsAt(text: string, index: number): boolean {
    const length = text.length - index;
    if (length < SHORTEST) return this.#starts.has(text.slice(index));
    for (const hidden of this.#startingAt(text, index))
      if (hidden.length > length && hidden.startsWith(text.slice(index))) return true;
    return false;
  }

  /** The next piece: what of it, and of what was held back, may be shown. */
  push(piece: string): string {
    if (this.#longest === 0) return piece;
    const text = this.#held + piece;
    const places = this.#places(text);
    let end = Math.max(0, text.length - this.#longest + 1);
    while (end < text.length && !this.#beginsAt(text, end)) end++;
    // A secret is not cut in two: the longer one may go on.
    end = places.find(([from, to]) => from < end && end < to)?.[0] ?? end;
    this.#held = text.slice(end);
    return starred(
      text.slice(0, end),
      places.filter(([, to]) => to <= end),
    );
  }

  /** Nothing follows any more: what was held back, stars where it may be a part of a secret. */
  flush(): string {
    const held = this.#held;
    this.#held = "";
    return held.length < SHORTEST ? held : STARS;
  }

  /** A text that is whole. */
  whole(text: string): string {
    return starred(text, this.#places(text));
  }
}

function hashAt(text: string, index: number): number {
  const [a, b, c] = [text.charCodeAt(index), text.charCodeAt(index + 1), text.charCodeAt(index + 2)];
  return (a ^ (b << 5) ^ (c << 10)) & 0xffff;
}

/** Lines stay lines. */
function starred(text: string, places: readonly [number, number][]): string {
  let shown = "";
  let done = 0;
  for (const [from, to] of places) {
    shown += text.slice(done, from) + text.slice(from, to).replace(/[^\n]+/g, STARS);
    done = to;
  }
  return shown + text.slice(done);
}
