/**
 * Another Holdfast as witness, from the side of a node: each question is one HTTPS request with the node's own certificate, to a server that the fingerprint in
 * cluster.yaml proves.
 */
import * as v from "valibot";
import { readBounded, tlsCall } from "../cluster/tls_call.ts";
import { fetchAuthority } from "../cluster/token_call.ts";
import { sharedClock } from "../platform/shared_clock.ts";
import type { NodeWitnessConfig } from "./config.ts";
import { reasonOf, shares } from "./http.ts";
import {
  answerSchemas,
  selfSchema,
  WITNESS_NAME,
  WITNESS_PATH,
  type WitnessAnswer,
  type WitnessRequest,
} from "./protocol.ts";
import type {
  ProbeAnswer,
  ReadAnswer,
  RecordAnswer,
  RecordingWitness,
  RenewAnswer,
  Unknown,
} from "./witness.ts";

const MAX_ANSWER_BYTES = 256 * 1024;
const refusal = v.object({ message: v.pipe(v.string(), v.maxLength(500)) });

/** Who asks, and how long it waits. */
export interface NodeWitnessOptions {
  /** PEM: the node's own. */
  certificate: string;
  key: string;
  /** For each call, ms. */
  deadlineMs: number;
  clock?: () => number;
}

/** See the top of the file. */
export class NodeWitness implements RecordingWitness {
  readonly records = true;
  readonly name: string;
  readonly #clock: () => number;
  readonly #closing = new AbortController();
  /** PEM, once it is proved. */
  #authority: string | null = null;
  /** Which address is asked next. */
  #next = 0;
  /** By module: until when this node holds the lease, by its own clock, and what the witness calls it. */
  readonly #leases = new Map<string, { until: number; lease: string | null }>();
  /** By module: the last request for a lease. */
  readonly #renewals = new Map<string, Promise<unknown>>();

  constructor(
    private readonly config: NodeWitnessConfig,
    private readonly options: NodeWitnessOptions,
  ) {
    this.name = `node ${config.addresses.join(", ")} port ${config.port}`;
    this.#clock = options.clock ?? sharedClock;
  }

  renew(module: string, leaseMs: number): Promise<RenewAnswer> {
    const renewal = this.#renew(module, leaseMs);
    this.#renewals.set(module, renewal);
    return renewal;
  }

  async #renew(module: string, leaseMs: number): Promise<RenewAnswer> {
    const sentAt = this.#clock();
    const answer = await this.#ask("renew", { module, leaseMs, holds: this.#holds(module) });
    if (answer.kind === "granted") {
      const { lease = null, ...rest } = answer;
      const before = this.#leases.get(module)?.until ?? Number.NEGATIVE_INFINITY;
      this.#leases.set(module, { until: Math.max(before, sentAt + leaseMs), lease });
      return { ...rest, sentAt };
    }
    if (answer.kind === "refused") this.#leases.delete(module);
    return answer;
  }

  recordSole(
    module: string,
    sole: string | null,
    generation: string,
    expected: string,
  ): Promise<RecordAnswer> {
    return this.#ask("sole", { module, sole, generation, expected, holds: this.#holds(module) });
  }

  read(module: string): Promise<ReadAnswer> {
    return this.#ask("read", { module });
  }

  async release(module: string): Promise<boolean> {
    const known = this.#leases.get(module);
    // From now on it does not count here, whatever is still asked meanwhile.
    if (known !== undefined) known.until = Number.NEGATIVE_INFINITY;
    await this.#renewals.get(module);
    const held = this.#leases.get(module);
    if (held === undefined) return true;
    this.#leases.delete(module);
    const { lease } = held;
    return lease !== null && (await this.#ask("release", { module, lease })).kind === "released";
  }

  async probe(): Promise<ProbeAnswer> {
    try {
      const { version, cluster } = v.parse(selfSchema, await this.#send("GET", "self"));
      return { answers: true, detail: `Holdfast ${version} answers, and serves cluster ${cluster}` };
    } catch (error) {
      return { answers: false, detail: reasonOf(error) };
    }
  }

  /** Tells the witness that it serves this cluster no more: its records are deleted there. Throws. */
  async leave(): Promise<void> {
    await this.#send("POST", "leave", {});
  }

  close(): void {
    this.#closing.abort();
  }

  #holds(module: string): boolean {
    return this.#clock() < (this.#leases.get(module)?.until ?? Number.NEGATIVE_INFINITY);
  }

  async #ask<Kind extends keyof WitnessRequest>(
    kind: Kind,
    body: WitnessRequest[Kind],
  ): Promise<WitnessAnswer[Kind] | Unknown> {
    try {
      return v.parse(answerSchemas[kind], await this.#send("POST", kind, body));
    } catch (error) {
      return { kind: "unknown", why: `${this.name}: ${reasonOf(error)}` };
    }
  }

  /** Tries one address after the other, beginning with the one that answered last, each for its share of the time. */
  async #send(method: string, path: string, body?: object): Promise<unknown> {
    const { addresses } = this.config;
    const whole = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(this.options.deadlineMs)]);
    const failures: string[] = [];
    for (const ms of shares(this.options.deadlineMs, addresses.length)) {
      const address = addresses[this.#next % addresses.length]!;
      const share = AbortSignal.timeout(ms);
      try {
        return await this.#sendTo(address, method, path, body, AbortSignal.any([whole, share]));
      } catch (error) {
        failures.push(addresses.length === 1 ? reasonOf(error) : `${address}: ${reasonOf(error)}`);
        if (whole.aborted || error instanceof Refused) break;
        this.#next = (this.#next + 1) % addresses.length;
      }
    }
    throw new Error(failures.join("; "));
  }

  async #sendTo(
    address: string,
    method: string,
    path: string,
    body: object | undefined,
    signal: AbortSignal,
  ): Promise<unknown> {
    const { port } = this.config;
    this.#authority ??= await fetchAuthority(this.config, address, signal);
    const { certificate, key } = this.options;
    const response = await tlsCall({
      address,
      port,
      path: WITNESS_PATH + path,
      method,
      ...(body !== undefined && { body: JSON.stringify(body) }),
      authority: this.#authority,
      expect: WITNESS_NAME,
      client: { certificate, key },
      signal,
    });
    const value: unknown = JSON.parse(await readBounded(response.body, MAX_ANSWER_BYTES));
    if (response.status === 200) return value;
    const said = v.safeParse(refusal, value);
    throw new Refused(said.success ? said.output.message : `it answered ${response.status}`);
  }
}

/** The witness answered, and said no. */
class Refused extends Error {}
