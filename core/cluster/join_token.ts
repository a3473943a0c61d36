/**
 * Tokens: what a new node needs to find the cluster, to know that it is the right one, and to be let in once; and what a cluster needs of a witness.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { existsSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import * as v from "valibot";
import { makeDirectoryDurably, syncDirectory } from "../platform/durable_directory.ts";
import { ClusterError, clusterDirectory } from "./credential_files.ts";
import type { Cluster } from "./identity.ts";

/** Who gives tokens out: a cluster's member to a node, a witness to a cluster. */
export type TokenKind = "join" | "witness";
/** How a token begins, and how it is made. */
const KINDS = {
  join: { mark: "hf1.", command: "holdfast cluster token" },
  witness: { mark: "hw1.", command: "holdfast witness token" },
} as const;

/** How long a token is good when nobody says otherwise, ms. */
export const TOKEN_LIFE_MS = 3_600_000;
const CHECKSUM_BYTES = 4;
const SECRET_BYTES = 16;
const MAX_TOKEN_CHARACTERS = 4096;
/** More open tokens than anyone needs: the oldest go. */
const MAX_OPEN_TOKENS = 100;

/** What a token says. */
export interface JoinToken {
  addresses: readonly string[];
  port: number;
  /** base64url SHA-256 of the authority's certificate. */
  fingerprint: string;
  /** base64url. */
  secret: string;
  /** Wall clock, ms. */
  expires: number;
}

const base64url = (bytes: number) =>
  v.pipe(
    v.string(),
    v.regex(/^[A-Za-z0-9_-]+$/),
    v.check((text) => Buffer.from(text, "base64url").length === bytes),
  );
const content = v.strictObject({
  a: v.pipe(
    v.array(
      v.pipe(
        v.string(),
        v.check((text) => isIP(text) !== 0),
      ),
    ),
    v.minLength(1),
    v.maxLength(16),
  ),
  p: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535)),
  f: base64url(32),
  s: base64url(SECRET_BYTES),
  e: v.pipe(v.number(), v.integer(), v.minValue(0)),
});
/** A file's name. */
const OPEN = /^[0-9a-f]{64}-\d+$/;

const checksum = (bytes: Uint8Array): Buffer =>
  createHash("sha256").update(bytes).digest().subarray(0, CHECKSUM_BYTES);
const hashOf = (secret: string): string =>
  createHash("sha256").update(`holdfast join ${secret}`).digest("hex");

/** The token as one word. */
export function formatToken(token: JoinToken, kind: TokenKind = "join"): string {
  const compact = {
    a: token.addresses,
    p: token.port,
    f: token.fingerprint,
    s: token.secret,
    e: token.expires,
  };
  const bytes = Buffer.from(JSON.stringify(compact));
  return KINDS[kind].mark + Buffer.concat([checksum(bytes), bytes]).toString("base64url");
}

/** Reads a token. Throws ClusterError that says whether it is no token, or damaged. Expiry is not judged here: the clocks may differ. */
export function parseToken(text: string, kind: TokenKind = "join"): JoinToken {
  const word = text.trim();
  const { mark, command } = KINDS[kind];
  if (word.length > MAX_TOKEN_CHARACTERS) throw new ClusterError(`that is too long for a ${kind} token`);
  if (!word.startsWith(mark))
    throw new ClusterError(`that is no ${kind} token: one starts with ${mark} (make one with: ${command})`);
  const damaged = new ClusterError(`the ${kind} token is damaged or cut short: copy it again, whole`);
  const encoded = word.slice(mark.length);
  const bytes = Buffer.from(encoded, "base64url");
  if (!/^[A-Za-z0-9_-]+$/.test(encoded) || bytes.length <= CHECKSUM_BYTES) throw damaged;
  const body = bytes.subarray(CHECKSUM_BYTES);
  if (!timingSafeEqual(checksum(body), bytes.subarray(0, CHECKSUM_BYTES))) throw damaged;
  let value: unknown;
  try {
    value = JSON.parse(body.toString("utf8"));
  } catch {
    throw damaged;
  }
  const found = v.safeParse(content, value);
  if (!found.success) throw damaged;
  const { a, p, f, s, e } = found.output;
  return { addresses: a, port: p, fingerprint: f, secret: s, expires: e };
}

/** Where tokens lead, and where it is remembered which are open. */
export interface TokenPlace {
  kind: TokenKind;
  /** Absolute path; need not be there. */
  directory: string;
  addresses: readonly string[];
  port: number;
  fingerprint: string;
}

/** The place of a node's join tokens: VAR/cluster/tokens. */
export function joinPlace(cluster: Cluster): TokenPlace {
  const own = cluster.nodes[cluster.node]!;
  return {
    kind: "join",
    directory: join(clusterDirectory(cluster.varDir), "tokens"),
    addresses: Object.values(own.addresses).map((lan) => lan.address),
    port: cluster.port,
    fingerprint: cluster.fingerprint,
  };
}

/**
 * The tokens that were given out and that nobody used yet: an empty file for each, named by the secret's hash and its end. A name appears and goes
 * at once or not at all, so several processes may make and use tokens at the same moment.
 */
export class TokenRegister {
  constructor(private readonly place: TokenPlace) {}

  /** Makes a token that is good once, for `lifeMs`, at this place. */
  create(lifeMs: number = TOKEN_LIFE_MS): JoinToken {
    const { addresses, port, fingerprint, directory } = this.place;
    const secret = randomBytes(SECRET_BYTES).toString("base64url");
    const expires = Date.now() + lifeMs;
    const open = this.#open;
    const kept = new Set(open.filter((one) => one.expires > Date.now()).slice(1 - MAX_OPEN_TOKENS));
    for (const one of open) if (!kept.has(one)) rmSync(join(directory, one.name), { force: true });
    makeDirectoryDurably(directory);
    writeFileSync(join(directory, `${hashOf(secret)}-${expires}`), "", { mode: 0o600 });
    syncDirectory(directory);
    return { addresses, port, fingerprint, secret, expires };
  }

  /** Throws ClusterError when the token with this secret is unknown, used or expired: always the same words. */
  demand(secret: string): void {
    if (this.#find(secret) === undefined) throw this.#refusal;
  }

  /** Uses up the token with this secret, durably. Throws as `demand`. */
  redeem(secret: string): void {
    const name = this.#find(secret);
    if (name === undefined || !this.#take(name)) throw this.#refusal;
  }

  #find(secret: string): string | undefined {
    const open = this.#open.find(({ name }) => name.startsWith(hashOf(secret)));
    return open !== undefined && open.expires > Date.now() ? open.name : undefined;
  }

  get #refusal(): ClusterError {
    const { kind } = this.place;
    return new ClusterError(
      `the ${kind} token is unknown here, used already, or expired: make a new one with: ${KINDS[kind].command}`,
    );
  }

  /** False when another process was quicker. */
  #take(name: string): boolean {
    const { directory } = this.place;
    try {
      rmSync(join(directory, name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
      throw error;
    }
    syncDirectory(directory);
    return true;
  }

  /** The one that ends last comes last. */
  get #open(): { name: string; expires: number }[] {
    const { directory } = this.place;
    const names = existsSync(directory) ? readdirSync(directory) : [];
    return names
      .flatMap((name) => (OPEN.test(name) ? [{ name, expires: Number(name.split("-")[1]) }] : []))
      .sort((one, other) => one.expires - other.expires);
  }
}
