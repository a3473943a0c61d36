/**
 * `witness:` of cluster.yaml: which witness, and where. Credentials are not here: they are secrets, of the owner `witness`.
 */
import * as v from "valibot";
import { ipAddress, list, mapping, text, whole } from "../../modules/fields.ts";

/** Another Holdfast: where it listens, and the fingerprint of its authority, which proves it. */
export interface NodeWitnessConfig {
  kind: "node";
  addresses: readonly string[];
  port: number;
  /** base64url SHA-256 of the authority's certificate. */
  fingerprint: string;
}

/** etcd v3: its members' client URLs, without a path. */
export interface EtcdWitnessConfig {
  kind: "etcd";
  endpoints: readonly string[];
}

/** A bucket. `endpoint` is a URL without a path; objects lie below `prefix`. */
export interface S3WitnessConfig {
  kind: "s3";
  endpoint: string;
  region: string;
  bucket: string;
  prefix: string;
}

/** Addresses to ping. */
export interface PingWitnessConfig {
  kind: "ping";
  addresses: readonly string[];
}

/** What `witness:` says. */
export type WitnessConfig = NodeWitnessConfig | EtcdWitnessConfig | S3WitnessConfig | PingWitnessConfig;

/** Where a witness listens when nobody says otherwise. */
export const WITNESS_PORT = 9452;
/** The owner, in the store of secrets, of the witness's credentials. No module has this name. */
export const WITNESS_SECRETS = "witness";
/** Secrets that each kind of witness takes: all optional but those of S3. */
export const SECRETS_OF: Readonly<Record<WitnessConfig["kind"], readonly string[]>> = {
  node: [],
  etcd: ["user", "password", "ca", "certificate", "key"],
  s3: ["access_key", "secret_key", "ca"],
  ping: [],
};

/** Does this witness remember, so that G1, G3 and G4 hold always? */
export const recordsAnything = (config: WitnessConfig | null): boolean =>
  config !== null && config.kind !== "ping";

const FINGERPRINT_BYTES = 32;

/** `http://HOST:PORT` or `https://HOST:PORT`. */
const origin = v.pipe(
  text("a URL such as https://10.77.0.9:2379", /^https?:\/\/[^\s/]+\/?$/, 260),
  v.check(
    (url) => URL.canParse(url) && new URL(url).username === "" && new URL(url).password === "",
    // Not what was found: it may hold a password.
    "expected a URL of a server, without user and password: they are secrets of the owner witness",
  ),
  v.transform((url) => new URL(url).origin),
);

const fingerprint = v.pipe(
  text("the fingerprint that holdfast witness prints", /^[A-Za-z0-9_-]{43}$/, 43),
  v.check(
    (word) => Buffer.from(word, "base64url").length === FINGERPRINT_BYTES,
    "expected the fingerprint that holdfast witness prints",
  ),
);

const filled = <const Item extends v.GenericSchema>(item: Item, limit: number) =>
  v.pipe(list(item, limit), v.minLength(1, "the list is empty"));

const node = v.pipe(
  mapping({
    addresses: filled(ipAddress, 8),
    port: v.optional(whole(1, 65_535), WITNESS_PORT),
    fingerprint,
  }),
  v.transform((content): WitnessConfig => ({ kind: "node", ...content })),
);
const etcd = v.pipe(
  filled(origin, 9),
  v.transform((endpoints): WitnessConfig => ({ kind: "etcd", endpoints })),
);
const s3 = v.pipe(
  mapping({
    bucket: text(
      "a bucket's name (3 to 63 small letters, digits, . and -)",
      /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/,
      63,
    ),
    region: v.optional(text("a region such as eu-central-1", /^[a-z0-9-]+$/, 32), "us-east-1"),
    endpoint: v.exactOptional(origin),
    prefix: v.optional(
      text("names separated by slashes", /^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/, 200),
      "holdfast",
    ),
  }),
  v.transform(
    (content): WitnessConfig => ({
      kind: "s3",
      ...content,
      endpoint: content.endpoint ?? `https://s3.${content.region}.amazonaws.com`,
    }),
  ),
);
const ping = v.pipe(
  filled(ipAddress, 8),
  v.transform((addresses): WitnessConfig => ({ kind: "ping", addresses })),
);

const KINDS = "etcd, node, s3, ping";

/** The value of `witness:`: exactly one kind. */
export const witnessSchema = v.pipe(
  mapping({
    etcd: v.exactOptional(etcd),
    node: v.exactOptional(node),
    s3: v.exactOptional(s3),
    ping: v.exactOptional(ping),
  }),
  v.rawTransform(({ dataset, addIssue, NEVER }): WitnessConfig => {
    const [only, ...others] = Object.values(dataset.value);
    if (only !== undefined && others.length === 0) return only;
    addIssue({
      message: only === undefined ? `expected one of ${KINDS}` : `expected one witness, of ${KINDS}`,
    });
    return NEVER;
  }),
);
