/**
 * One JSON object a line, over Unix sockets: how the processes of a node talk.
 */

/** The longest line accepted, bytes: a peer that sends more is broken or hostile, and is cut off. */
const LINE_BYTES_MAX = 4 << 20;

/** Collects bytes and calls back with each complete line, parsed. Throws on a line that is too long or no JSON. */
export class LineReader {
  #rest = Buffer.alloc(0);

  constructor(private readonly onObject: (object: unknown) => void) {}

  /** Takes a chunk as it came from the socket. */
  push(chunk: Uint8Array): void {
    let bytes = this.#rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#rest, chunk]);
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10)) {
      const line = bytes.subarray(0, end).toString();
      bytes = bytes.subarray(end + 1);
      if (line !== "") this.onObject(JSON.parse(line));
    }
    if (bytes.length > LINE_BYTES_MAX)
      throw new Error(`a line of more than ${LINE_BYTES_MAX} bytes was refused`);
    this.#rest = bytes;
  }
}

/** One line to send. */
export function toLine(object: unknown): string {
  return `${JSON.stringify(object)}\n`;
}
