/**
 * How two replication processes prove to each other that they hold the module's key, and agree on keys for one connection.
 *
 *     dialer   -> listener   its ephemeral key, and a proof that it knows the module's key
 *     listener -> dialer     its ephemeral key, and a proof over both ephemeral keys
 *     dialer   -> listener   a proof over all of it
 *
 * Nothing else is said before a proof: who does not hold the key sees random bytes, no version, no name. A recorded
 * conversation played again fails, since each side's fresh ephemeral key enters all proofs and keys; recorded traffic
 * stays closed when the module's key leaks later.
 */
import {
  createHash,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  timingSafeEqual,
} from "node:crypto";

/** Who opened the connection. Proofs are bound to it, so none can be reflected. */
export type Side = "dialer" | "listener";

/** Keys of one connection. */
export interface LinkKeys {
  send: Uint8Array;
  receive: Uint8Array;
}

const EPHEMERAL_BYTES = 32;
const PROOF_BYTES = 32;
/** DER header of a raw X25519 public key (RFC 8410). */
const SPKI_HEADER = Buffer.from("302a300506032b656e032100", "hex");
const LABEL = "holdfast replication 1";

/** One side of the handshake. Feed it `expects` bytes at a time; it knows nothing of sockets. */
export class Handshake {
  readonly #side: Side;
  readonly #key: Uint8Array;
  readonly #module: string;
  readonly #pair = generateKeyPairSync("x25519");
  readonly #own: Uint8Array;
  #theirs: Uint8Array = new Uint8Array(0);
  #step = 0;
  #secrets = new Uint8Array(0);
  /** Set once the peer has proved itself. */
  keys: LinkKeys | null = null;

  /** `key`: the module's 32 bytes. `module` is bound into every proof: one module's peer is not another's. */
  constructor(side: Side, key: Uint8Array, module: string) {
    this.#side = side;
    this.#key = key;
    this.#module = module;
    this.#own = new Uint8Array(
      this.#pair.publicKey.export({ type: "spki", format: "der" }).subarray(SPKI_HEADER.length),
    );
  }

  /** How many bytes the next message of the peer has. */
  get expects(): number {
    return this.#side === "listener" && this.#step === 1 ? PROOF_BYTES : EPHEMERAL_BYTES + PROOF_BYTES;
  }

  /** The message that opens the conversation; empty for the listener. */
  opening(): Uint8Array {
    if (this.#side === "listener") return new Uint8Array(0);
    return Buffer.concat([this.#own, this.#openingProof(this.#own)]);
  }

  /** Takes the peer's next message; returns the answer (may be empty). Throws when the peer does not hold the key. */
  take(message: Uint8Array): Uint8Array {
    if (this.#side === "dialer") {
      this.#theirs = message.slice(0, EPHEMERAL_BYTES);
      this.#derive(this.#own, this.#theirs);
      this.#check(message.subarray(EPHEMERAL_BYTES), this.#proof("listener"));
      this.#open();
      return this.#proof("dialer");
    }
    if (this.#step === 0) {
      this.#theirs = message.slice(0, EPHEMERAL_BYTES);
      this.#check(message.subarray(EPHEMERAL_BYTES), this.#openingProof(this.#theirs));
      this.#derive(this.#theirs, this.#own);
      this.#step = 1;
      return Buffer.concat([this.#own, this.#proof("listener")]);
    }
    this.#check(message, this.#proof("dialer"));
    this.#open();
    return new Uint8Array(0);
  }

  #openingProof(ephemeral: Uint8Array): Uint8Array {
    return createHmac("sha256", this.#key)
      .update(`${LABEL} opening\0${this.#module}\0`)
      .update(ephemeral)
      .digest();
  }

  #derive(dialer: Uint8Array, listener: Uint8Array): void {
    const publicKey = createPublicKey({
      key: Buffer.concat([SPKI_HEADER, this.#theirs]),
      format: "der",
      type: "spki",
    });
    const shared = diffieHellman({ privateKey: this.#pair.privateKey, publicKey });
    const transcript = createHash("sha256")
      .update(`${LABEL}\0${this.#module}\0`)
      .update(dialer)
      .update(listener)
      .digest();
    this.#secrets = new Uint8Array(
      hkdfSync("sha256", Buffer.concat([shared, this.#key]), transcript, LABEL, 128),
    );
  }

  #proof(by: Side): Uint8Array {
    const at = by === "dialer" ? 64 : 96;
    return createHmac("sha256", this.#secrets.subarray(at, at + 32))
      .update(`proof of the ${by}`)
      .digest();
  }

  #check(given: Uint8Array, expected: Uint8Array): void {
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
      throw new Error(
        "the peer does not hold this module's replication key; rotate-keys or join the node again",
      );
    }
  }

  #open(): void {
    const toListener = this.#secrets.slice(0, 32);
    const toDialer = this.#secrets.slice(32, 64);
    this.keys =
      this.#side === "dialer"
        ? { send: toListener, receive: toDialer }
        : { send: toDialer, receive: toListener };
  }
}
