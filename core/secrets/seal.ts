/**
 * A value sealed to one node: only who has that node's key for secrets opens it, on disk and on the way alike.
 *
 * ECDH on P-256 with a key made for this one value, HKDF-SHA256, AES-256-GCM (as ECIES, SEC 1 section 5.1). What the value is for
 * (node, module, key, version) is authenticated with it: a sealed text that is moved to another place does not open.
 *
 * The node's key lies in VAR/cluster, beside its other keys, and belongs to this node alone; rotating the cluster's keys does not touch it.
 */
import { createCipheriv, createDecipheriv, createECDH, type ECDH, hkdfSync } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { clusterDirectory, replaceDurably } from "../cluster/credential_files.ts";
import { type SecretVersion, versionWord } from "./versions.ts";

/** Most bytes of a value. */
export const MAX_SECRET_BYTES = 64 * 1024;
const CURVE = "prime256v1";
const POINT_BYTES = 33;
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** Most characters of a sealed value, base64. */
export const MAX_SEALED_CHARACTERS = 4 * Math.ceil((POINT_BYTES + MAX_SECRET_BYTES + TAG_BYTES) / 3);

/** What a sealed value is for. */
export interface SealedFor {
  /** The node that opens it. */
  recipient: string;
  module: string;
  key: string;
  version: SecretVersion;
}

/** A node's key for secrets. */
export class SecretKey {
  readonly #pair: ECDH;

  private constructor(pair: ECDH) {
    this.#pair = pair;
  }

  /**
   * The key of the node whose state lies in `varDir`, made where there is none. One that is damaged is replaced, since nothing can be opened
   * with it any more: `isNew` is true then.
   */
  static openOrMake(varDir: string): { key: SecretKey; isNew: boolean } {
    const file = join(clusterDirectory(varDir), "secrets.key");
    const pair = createECDH(CURVE);
    if (existsSync(file)) {
      const text = readFileSync(file, "utf8").trim();
      if (/^[0-9a-f]{64}$/.test(text)) {
        pair.setPrivateKey(text, "hex");
        return { key: new SecretKey(pair), isNew: false };
      }
    }
    pair.generateKeys();
    replaceDurably(file, `${pair.getPrivateKey("hex").padStart(2 * KEY_BYTES, "0")}\n`);
    return { key: new SecretKey(pair), isNew: true };
  }

  /** What others seal with, base64. */
  get publicKey(): string {
    return this.#pair.getPublicKey("base64", "compressed");
  }

  /** Opens what was sealed to this key. Throws when it was not, or is for something else. */
  open(sealed: string, purpose: SealedFor): Buffer {
    const bytes = Buffer.from(sealed, "base64");
    if (bytes.length < POINT_BYTES + TAG_BYTES) throw new Error("too short for a sealed value");
    const point = bytes.subarray(0, POINT_BYTES);
    const shared = this.#pair.computeSecret(point);
    const { key, nonce } = derive(shared, point, this.#pair.getPublicKey(null, "compressed"));
    const cipher = createDecipheriv("aes-256-gcm", key, nonce);
    cipher.setAAD(additional(purpose));
    cipher.setAuthTag(bytes.subarray(-TAG_BYTES));
    const value = cipher.update(bytes.subarray(POINT_BYTES, -TAG_BYTES));
    return Buffer.concat([value, cipher.final()]);
  }
}

/** Seals a value to a public key (base64). Throws when that is none. */
export function seal(value: Uint8Array, publicKey: string, purpose: SealedFor): string {
  const recipient = Buffer.from(publicKey, "base64");
  if (recipient.length !== POINT_BYTES) throw new Error("that is no node's key for secrets");
  const once = createECDH(CURVE);
  once.generateKeys();
  const point = once.getPublicKey(null, "compressed");
  const { key, nonce } = derive(once.computeSecret(recipient), point, recipient);
  const cipher = createCipheriv("aes-256-gcm", key, nonce);
  cipher.setAAD(additional(purpose));
  const text = Buffer.concat([cipher.update(value), cipher.final()]);
  return Buffer.concat([point, text, cipher.getAuthTag()]).toString("base64");
}

function derive(shared: Buffer, once: Uint8Array, recipient: Uint8Array): { key: Buffer; nonce: Buffer } {
  const salt = Buffer.concat([once, recipient]);
  const bytes = Buffer.from(hkdfSync("sha256", shared, salt, "holdfast 1 secret", KEY_BYTES + NONCE_BYTES));
  return { key: bytes.subarray(0, KEY_BYTES), nonce: bytes.subarray(KEY_BYTES) };
}

const additional = ({ recipient, module, key, version }: SealedFor): Buffer =>
  Buffer.from(JSON.stringify([recipient, module, key, versionWord(version)]));
