/**
 * Tokens: what a new node needs to find the cluster, to know that it is the right one, and to be let in once; and what a cluster needs of a witness.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import * as v from "valibot";
import { ClusterError, clusterDirectory, replaceDurably } from "./credential_files.ts";
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
const openTokens = v.array(v.object({ hash: v.string(), expires: v.number() }));

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
  /** Absolute path of a JSON file. */
  file: string;
  addresses: readonly string[];
  port: number;
  fingerprint: string;
}

/** The place of a node's join tokens: VAR/cluster/tokens.json. */
export function joinPlace(cluster: Cluster): TokenPlace {
  const own = cluster.nodes[cluster.node]!;
  return {
    kind: "join",
    file: join(clusterDirectory(cluster.varDir), "tokens.json"),
    addresses: Object.values(own.addresses).map((lan) => lan.address),
    port: cluster.port,
    fingerprint: cluster.fingerprint,
  };
}

/**
 * The tokens that were given out and that nobody used yet, kept as hashes.
 * Only the process that listens opens one of these, so that a token is used once.
 */
export class TokenRegister {
  readonly #place: TokenPlace;

  constructor(place: TokenPlace) {
    this.#place = place;
  }

  /** Makes a token that is good once, for `lifeMs`, at this place. */
  create(lifeMs: number = TOKEN_LIFE_MS): JoinToken {
    const { addresses, port, fingerprint } = this.#place;
    const token: JoinToken = {
      addresses,
      port,
      fingerprint,
      secret: randomBytes(SECRET_BYTES).toString("base64url"),
      expires: Date.now() + lifeMs,
    };
    const open = this.#read().filter((one) => one.expires > Date.now());
    this.#write([...open, { hash: hashOf(token.secret), expires: token.expires }].slice(-MAX_OPEN_TOKENS));
    return token;
  }

  /** Uses up the token with this secret, durably. Throws ClusterError when it is unknown, used or expired: always the same words. */
  redeem(secret: string): void {
    const hash = hashOf(secret);
    const open = this.#read();
    const found = open.find((one) => timingSafeEqual(Buffer.from(one.hash), Buffer.from(hash)));
    if (found !== undefined) this.#write(open.filter((one) => one !== found));
    const { kind } = this.#place;
    if (found === undefined || found.expires <= Date.now())
      throw new ClusterError(
        `the ${kind} token is unknown here, used already, or expired: make a new one with: ${KINDS[kind].command}`,
      );
  }

  #read(): v.InferOutput<typeof openTokens> {
    let text: string;
    try {
      text = readFileSync(this.#place.file, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw error;
    }
    // A file that cannot be read lets nobody in; the next token writes a good one.
    const found = v.safeParse(openTokens, parseOrNull(text));
    return found.success ? found.output.filter((one) => one.hash.length === 64) : [];
  }

  #write(open: v.InferOutput<typeof openTokens>): void {
    replaceDurably(this.#place.file, JSON.stringify(open));
  }
}

function parseOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
