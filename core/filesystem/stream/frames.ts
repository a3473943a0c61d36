/**
 * Sealed frames: `length (4 bytes) | ciphertext | tag (16 bytes)`, AES-256-GCM, the nonce a counter.
 *
 * A frame that is replayed, dropped, reordered or changed fails to open, and the connection with it. Keys move on by a
 * one-way step long before any bound of GCM comes near.
 */
import { type CipherGCM, createCipheriv, createDecipheriv, type DecipherGCM, hkdfSync } from "node:crypto";

/** Most plaintext bytes of a frame. */
export const MAX_FRAME = (1 << 20) + (64 << 10);
export const FRAME_HEADER = 4;
export const FRAME_TAG = 16;
const FRAMES_PER_KEY = 1 << 20;
/** So many bytes are sealed or opened at once: the cipher takes new memory for each piece, and touching that for the first time costs more than the cipher. */
const PIECE = 128 << 10;
/** Less than this is the collector's, bytes. */
const WORTH_GIVING_BACK = 4096;

/** The state that both directions share in kind: a key, and the number of the next frame. */
class FrameKey {
  #key: Uint8Array;
  #count = 0;
  readonly #nonce = new Uint8Array(12);

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  /** Key and nonce of the next frame. */
  next(): { key: Uint8Array; nonce: Uint8Array } {
    if (this.#count === FRAMES_PER_KEY) {
      this.#key = new Uint8Array(hkdfSync("sha256", this.#key, new Uint8Array(0), "next key", 32));
      this.#count = 0;
    }
    const count = this.#count++;
    this.#nonce[8] = count >>> 24;
    this.#nonce[9] = count >>> 16;
    this.#nonce[10] = count >>> 8;
    this.#nonce[11] = count;
    return { key: this.#key, nonce: this.#nonce };
  }
}

/** Seals frames of one direction. */
export class FrameSealer {
  readonly #key: FrameKey;

  constructor(key: Uint8Array) {
    this.#key = new FrameKey(key);
  }

  /** Seals `plain` into `out` at `at`; returns the bytes written. `plain` must not exceed MAX_FRAME. */
  seal(plain: Uint8Array, out: Uint8Array, at: number): number {
    const { key, nonce } = this.#key.next();
    const header = out.subarray(at, at + FRAME_HEADER);
    writeLength(header, plain.length);
    const cipher = createCipheriv("aes-256-gcm", key, nonce);
    cipher.setAAD(header);
    inPieces(cipher, plain, out, at + FRAME_HEADER);
    cipher.final();
    out.set(cipher.getAuthTag(), at + FRAME_HEADER + plain.length);
    return FRAME_HEADER + plain.length + FRAME_TAG;
  }
}

/** Opens frames of one direction. */
export class FrameOpener {
  readonly #key: FrameKey;

  constructor(key: Uint8Array) {
    this.#key = new FrameKey(key);
  }

  /** Bytes that the whole frame at the start of `header` has. Throws when it cannot be a frame. */
  static size(header: Uint8Array, at: number): number {
    const length =
      (header[at]! | (header[at + 1]! << 8) | (header[at + 2]! << 16) | (header[at + 3]! << 24)) >>> 0;
    if (length > MAX_FRAME)
      throw new Error(`the peer announced a frame of ${length} bytes; the limit is ${MAX_FRAME}`);
    return FRAME_HEADER + length + FRAME_TAG;
  }

  /** Opens one whole frame in its own place; returns what it held. Throws when it is not the next frame that the peer sealed, and leaves nothing of use there. */
  open(frame: Uint8Array): Uint8Array {
    const { key, nonce } = this.#key.next();
    const decipher = createDecipheriv("aes-256-gcm", key, nonce);
    decipher.setAAD(frame.subarray(0, FRAME_HEADER));
    decipher.setAuthTag(frame.subarray(frame.length - FRAME_TAG));
    const content = frame.subarray(FRAME_HEADER, frame.length - FRAME_TAG);
    inPieces(decipher, content, frame, FRAME_HEADER);
    decipher.final();
    return content;
  }
}

/** Passes `bytes` through a cipher into `out` at `at`, which may be their own place. */
function inPieces(cipher: CipherGCM | DecipherGCM, bytes: Uint8Array, out: Uint8Array, at: number): void {
  for (let from = 0; from < bytes.length; from += PIECE) {
    const whole = bytes.length <= PIECE;
    const piece = cipher.update(whole ? bytes : bytes.subarray(from, from + PIECE));
    out.set(piece, at + from);
    giveBack(piece);
  }
}

/**
 * Frees what a cipher returned. The collector does not count such memory: in a loop that leaves it little else to do, it would grow
 * by every byte sent.
 */
function giveBack({ buffer, byteLength }: Uint8Array<ArrayBuffer>): void {
  const isItsOwn = buffer.byteLength < byteLength + WORTH_GIVING_BACK;
  if (byteLength >= WORTH_GIVING_BACK && isItsOwn) buffer.transfer(0);
}

function writeLength(out: Uint8Array, length: number): void {
  out[0] = length;
  out[1] = length >>> 8;
  out[2] = length >>> 16;
  out[3] = length >>> 24;
}
