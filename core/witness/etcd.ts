/**
 * Records in etcd v3, through its HTTP gateway: /v3/kv/txn, /v3/lease/grant, /v3/auth/authenticate. Keys and values are base64, numbers are texts (the JSON
 * mapping of protocol buffers). See etcd's API reference, "api/etcdserverpb/rpc.proto".
 *
 * A module has two keys: `record`, written with a compare of its mod_revision, and `lease`, which exists as long as the etcd lease that the holder put it
 * under: when it is gone, etcd says that the holder's time is over. Each renewal is a lease of its own, granted and put through the raft log. A lease that is
 * kept alive instead is not safe to count on: the answer to a keep-alive comes from whoever believes to be the leader, and a leader that was deposed while it
 * stood still revokes leases whose keep-alives went to the next one (etcd issue 15247).
 *
 * Everything that is asked here goes through the log or is a linearizable read, so an answer of a deposed member is never an old one.
 */
import * as v from "valibot";
import type { EtcdWitnessConfig } from "./config.ts";
import { type HttpAnswer, httpCall, reasonOf, shares, type TlsOptions } from "./http.ts";
import type { Cell } from "./lease_watch.ts";
import { formatRecord, parseRecord, type StoredRecord } from "./stored_record.ts";
import type { RecordStore, Swapped } from "./stored_witness.ts";

/** Who we are to etcd. */
export interface EtcdCredentials {
  user: { name: string; password: string } | null;
  tls: TlsOptions;
}

const base64 = (text: string): string => Buffer.from(text).toString("base64");
const fromBase64 = (text: string): string => Buffer.from(text, "base64").toString("utf8");

const found = v.object({
  kvs: v.optional(v.array(v.object({ value: v.optional(v.string(), ""), mod_revision: v.string() })), []),
});
const txnAnswer = v.object({
  header: v.object({ revision: v.string() }),
  succeeded: v.optional(v.boolean(), false),
  responses: v.optional(v.array(v.object({ response_range: v.exactOptional(found) })), []),
});
const grantAnswer = v.object({ ID: v.string(), TTL: v.string() });
const statusAnswer = v.object({ version: v.string(), leader: v.optional(v.string(), "0") });
const authAnswer = v.object({ token: v.string() });
const refusal = v.object({ error: v.string() });

/** etcd answered, and said no. */
class EtcdRefusal extends Error {}
const BAD_TOKEN = /invalid auth token|auth token|user name is empty|auth revision/i;

/** See the top of the file. */
export class EtcdStore implements RecordStore<string> {
  readonly name: string;
  #token: string | null = null;
  /** Which endpoint is asked next. */
  #next = 0;

  /** `space` keeps this cluster's keys apart from others'. `deadlineMs`: of a whole call, of which each endpoint gets its share. */
  constructor(
    private readonly config: EtcdWitnessConfig,
    private readonly space: string,
    private readonly credentials: EtcdCredentials,
    private readonly deadlineMs: number,
  ) {
    this.name = `etcd ${config.endpoints.join(", ")}`;
  }

  async read(module: string, signal: AbortSignal): Promise<Cell> {
    const answer = await this.#txn({ success: this.#ranges(module) }, signal);
    return this.#cell(answer);
  }

  async swap(
    module: string,
    tag: string | null,
    record: StoredRecord,
    keepsLease: boolean,
    signal: AbortSignal,
  ): Promise<Swapped<string>> {
    const keys = this.#keys(module);
    const writes: unknown[] = [{ request_put: { key: keys.record, value: base64(formatRecord(record)) } }];
    if (!keepsLease && record.holder === null) writes.push({ request_delete_range: { key: keys.lease } });
    if (!keepsLease && record.holder !== null)
      writes.push({
        request_put: {
          key: keys.lease,
          value: base64(record.holder),
          lease: await this.#grant(record.leaseMs, signal),
        },
      });
    const answer = await this.#txn(
      {
        compare: [{ key: keys.record, target: "MOD", result: "EQUAL", mod_revision: tag ?? "0" }],
        success: writes,
        failure: this.#ranges(module),
      },
      signal,
    );
    return answer.succeeded ? { tag: answer.header.revision } : { conflict: this.#cell(answer) };
  }

  async probe(signal: AbortSignal): Promise<string> {
    const { version, leader } = await this.#ask("/v3/maintenance/status", {}, statusAnswer, signal);
    if (leader === "0") throw new Error("it has no leader: most of its members are down");
    // Status is one member's word; a read through the log shows that the whole works, and that this user may.
    await this.read("probe", signal);
    return `etcd ${version} answers`;
  }

  #keys(module: string): { record: string; lease: string } {
    const path = `${this.space}/${module}`;
    return { record: base64(`${path}/record`), lease: base64(`${path}/lease`) };
  }

  #ranges(module: string): unknown[] {
    const { record, lease } = this.#keys(module);
    return [{ request_range: { key: record } }, { request_range: { key: lease } }];
  }

  #cell({ responses }: v.InferOutput<typeof txnAnswer>): Cell {
    const [record, lease] = responses.map(({ response_range }) => response_range?.kvs[0] ?? null);
    if (!record) return { record: null, tag: null, isLapsed: false };
    return { record: parseRecord(fromBase64(record.value)), tag: record.mod_revision, isLapsed: !lease };
  }

  /** A new lease that lasts at least that long: etcd counts in seconds, and has a least of its own. */
  async #grant(leaseMs: number, signal: AbortSignal): Promise<string> {
    const body = { TTL: String(Math.max(1, Math.ceil(leaseMs / 1000))) };
    const { ID, TTL } = await this.#ask("/v3/lease/grant", body, grantAnswer, signal);
    if (Number(TTL) * 1000 < leaseMs) throw new Error(`it granted a lease of ${TTL} s only`);
    return ID;
  }

  #txn(body: object, signal: AbortSignal): Promise<v.InferOutput<typeof txnAnswer>> {
    return this.#ask("/v3/kv/txn", body, txnAnswer, signal);
  }

  /** Asks one endpoint after the other, beginning with the one that answered last. */
  async #ask<const Schema extends v.GenericSchema>(
    path: string,
    body: object,
    schema: Schema,
    signal: AbortSignal,
  ): Promise<v.InferOutput<Schema>> {
    const { endpoints } = this.config;
    const failures: string[] = [];
    for (const ms of shares(this.deadlineMs, endpoints.length)) {
      const endpoint = endpoints[this.#next]!;
      const share = AbortSignal.timeout(ms);
      try {
        return v.parse(schema, await this.#askOne(endpoint, path, body, AbortSignal.any([signal, share])));
      } catch (error) {
        failures.push(`${endpoint}: ${reasonOf(error)}`);
        if (error instanceof EtcdRefusal || signal.aborted) break;
        this.#next = (this.#next + 1) % endpoints.length;
      }
    }
    throw new Error(failures.join("; "));
  }

  async #askOne(endpoint: string, path: string, body: object, signal: AbortSignal): Promise<unknown> {
    try {
      return await this.#post(endpoint, path, body, signal);
    } catch (error) {
      const { user } = this.credentials;
      if (user === null || !(error instanceof EtcdRefusal) || !BAD_TOKEN.test(error.message)) throw error;
    }
    // Never logged in, or etcd forgot: its tokens end after minutes of silence, and with a restart.
    this.#token = null;
    const { name, password } = this.credentials.user!;
    const login = await this.#post(endpoint, "/v3/auth/authenticate", { name, password }, signal);
    this.#token = v.parse(authAnswer, login).token;
    return await this.#post(endpoint, path, body, signal);
  }

  async #post(endpoint: string, path: string, body: object, signal: AbortSignal): Promise<unknown> {
    const answer = await httpCall({
      url: endpoint + path,
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(this.#token !== null && { authorization: this.#token }),
      },
      body: JSON.stringify(body),
      tls: this.credentials.tls,
      signal,
    });
    const value = parseOrNull(answer);
    if (answer.status === 200) return value;
    const said = v.safeParse(refusal, value);
    const message = said.success ? said.output.error : `answered ${answer.status}`;
    // What a member cannot do now, another may.
    throw answer.status >= 500 ? new Error(message) : new EtcdRefusal(message);
  }
}

function parseOrNull({ text }: HttpAnswer): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
