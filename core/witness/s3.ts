/**
 * Records in a bucket of S3, or of a server that speaks its language, through conditional writes: `If-None-Match: *` makes an object only where there is none,
 * `If-Match: ETAG` replaces only that very one. See "How to prevent object overwrites with conditional writes" of the Amazon S3 user guide.
 *
 * A server that does not know these headers ignores them, and two nodes would both be told that they wrote. So before the first write it is tried whether the
 * bucket refuses what it must refuse; where it does not, nothing is ever granted.
 */
import type { S3WitnessConfig } from "./config.ts";
import { type HttpAnswer, httpCall, type TlsOptions } from "./http.ts";
import type { Cell } from "./lease_watch.ts";
import { type SigningKey, signed } from "./signature.ts";
import { formatRecord, parseRecord, type StoredRecord } from "./stored_record.ts";
import type { RecordStore, Swapped } from "./stored_witness.ts";

/** Who we are to the bucket. */
export interface S3Credentials {
  accessKey: string;
  secretKey: string;
  tls: TlsOptions;
}

const TRIAL = "conditional-write-trial";
/** For the trial as a whole, ms. */
const TRIAL_MS = 10_000;
/** An entity tag that no object of ours has. */
const WRONG_TAG = '"00000000000000000000000000000000"';

/** See the top of the file. */
export class S3Store implements RecordStore<string> {
  readonly name: string;
  readonly #key: SigningKey;
  /** How far the server's clock is ahead of ours, ms: signatures carry a time, and this machine's may be anything. */
  #aheadMs = 0;
  /** Resolves when the bucket has been found to honour conditions. */
  #trial: Promise<void> | null = null;

  /** `space` keeps this cluster's objects apart from others'. */
  constructor(
    private readonly config: S3WitnessConfig,
    private readonly space: string,
    private readonly credentials: S3Credentials,
  ) {
    this.name = `bucket ${config.bucket} at ${config.endpoint}`;
    const { accessKey, secretKey } = credentials;
    this.#key = { accessKey, secretKey, region: config.region };
  }

  async read(module: string, signal: AbortSignal): Promise<Cell> {
    const answer = await this.#send("GET", this.#path(module), {}, "", signal);
    if (isMissing(answer)) return { record: null, tag: null, isLapsed: false };
    if (answer.status !== 200) throw new Error(complaint(answer));
    return { record: parseRecord(answer.text), tag: tagOf(answer), isLapsed: false };
  }

  async swap(
    module: string,
    tag: string | null,
    record: StoredRecord,
    _keepsLease: boolean,
    signal: AbortSignal,
  ): Promise<Swapped<string>> {
    await this.#conditionsHold(signal);
    const answer = await this.#put(this.#path(module), tag, formatRecord(record), signal);
    if (answer.status === 200) return { tag: tagOf(answer) };
    if (isRefused(answer)) return { conflict: await this.read(module, signal) };
    throw new Error(complaint(answer));
  }

  async probe(signal: AbortSignal): Promise<string> {
    await this.#conditionsHold(signal);
    return "the bucket answers, and honours conditional writes";
  }

  /** Tried once, and in its own time: it is several requests, and a call has little. */
  async #conditionsHold(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#trial ??= this.#tryConditions(AbortSignal.timeout(TRIAL_MS)).catch((error: unknown) => {
      this.#trial = null;
      throw error;
    });
    const { promise: isLate, reject } = Promise.withResolvers<never>();
    const late = (): void =>
      reject(new Error("it is being tried whether the bucket honours conditional writes"));
    signal.addEventListener("abort", late, { once: true });
    try {
      await Promise.race([this.#trial, isLate]);
    } finally {
      signal.removeEventListener("abort", late);
    }
  }

  async #tryConditions(signal: AbortSignal): Promise<void> {
    const path = this.#path(TRIAL);
    const first = await this.#put(path, null, "trial\n", signal);
    if (first.status !== 200 && !isRefused(first)) throw new Error(complaint(first));
    // Now there is one.
    for (const tag of [null, WRONG_TAG]) {
      const answer = await this.#put(path, tag, "trial\n", signal);
      if (answer.status === 200)
        throw new Error(
          "it does not honour conditional writes (If-Match, If-None-Match): it cannot be a witness",
        );
      if (!isRefused(answer)) throw new Error(complaint(answer));
    }
  }

  #path(name: string): string {
    return `/${this.config.bucket}/${this.config.prefix}/${this.space}/${name}`;
  }

  #put(path: string, tag: string | null, body: string, signal: AbortSignal): Promise<HttpAnswer> {
    const condition = tag === null ? { "if-none-match": "*" } : { "if-match": tag };
    return this.#send("PUT", path, { "content-type": "application/json", ...condition }, body, signal);
  }

  async #send(
    method: "GET" | "PUT",
    path: string,
    headers: Record<string, string>,
    body: string,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    const once = (): Promise<HttpAnswer> => {
      const { host } = new URL(this.config.endpoint);
      const time = Date.now() + this.#aheadMs;
      return httpCall({
        url: this.config.endpoint + path,
        method,
        headers: signed({ method, host, path, headers, body }, this.#key, time),
        ...(method === "PUT" && { body }),
        tls: this.credentials.tls,
        signal,
      });
    };
    const answer = await once();
    if (codeOf(answer) !== "RequestTimeTooSkewed") return answer;
    const theirs = Date.parse(answer.headers.get("date") ?? "");
    if (Number.isNaN(theirs)) return answer;
    this.#aheadMs = theirs - Date.now();
    return await once();
  }
}

/** The word for what is wrong, of an error's XML. */
const codeOf = ({ text }: HttpAnswer): string => /<Code>(\w+)<\/Code>/.exec(text)?.[1] ?? "";
const isMissing = (answer: HttpAnswer): boolean => answer.status === 404 && codeOf(answer) === "NoSuchKey";
/** 412: the condition does not hold. 409: another writes at this moment. 404: what was to be replaced is not there. */
const isRefused = (answer: HttpAnswer): boolean =>
  answer.status === 412 || answer.status === 409 || isMissing(answer);

function complaint(answer: HttpAnswer): string {
  const code = codeOf(answer);
  return `answered ${answer.status}${code && ` ${code}`}`;
}

function tagOf({ headers }: HttpAnswer): string {
  const tag = headers.get("etag");
  if (tag === null) throw new Error("answered without an entity tag");
  return tag;
}
