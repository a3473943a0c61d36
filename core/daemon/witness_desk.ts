/**
 * The cluster's witness, as the modules of this node ask it: opened when it is first needed, and again when cluster.yaml names another or its credentials change.
 *
 * A question takes as long as it takes and disturbs nobody: the failover core goes on meanwhile, and is told of the answer.
 */
import type { Cluster } from "../cluster/cluster.ts";
import type { WitnessAnswer } from "../failover/types.ts";
import { sharedClock } from "../platform/shared_clock.ts";
import { SECRETS_OF, WITNESS_SECRETS } from "../witness/config.ts";
import { openWitness } from "../witness/open.ts";
import type { RecordingWitness, Witness } from "../witness/witness.ts";
import type { Question } from "./module/supervisor.ts";
import type { NodeSecrets } from "./secrets/node_secrets.ts";

/** Share of the heartbeat timeout after which an answer is given up: several questions fit in what a promise leaves. */
const PATIENCE = 0.3;

/** See the top of the file. */
export class WitnessDesk {
  #opened: {
    config: Cluster["witness"];
    credentials: string;
    digest: string;
    deadlineMs: number;
    witness: Witness;
  } | null = null;
  /** Leases that are being given back. */
  readonly #given = new Set<Promise<void>>();

  constructor(
    private readonly cluster: Cluster,
    private readonly secrets: Pick<NodeSecrets, "values" | "digest">,
  ) {}

  /** Asks for a module; `leaseMs` is its heartbeat timeout. Never rejects. */
  async ask(module: string, question: Question, leaseMs: number): Promise<WitnessAnswer> {
    try {
      const witness = this.#witness();
      return witness.records ? await askRecorder(witness, module, question, leaseMs) : await askPing(witness);
    } catch (error) {
      return { kind: "unknown", why: (error as Error).message };
    }
  }

  #witness(): Witness {
    const config = this.cluster.witness;
    const digest = this.secrets.digest();
    const deadlineMs = Math.round(this.cluster.heartbeat.timeoutMs * PATIENCE);
    const opened = this.#opened?.deadlineMs === deadlineMs ? this.#opened : null;
    if (opened !== null && opened.config === config && opened.digest === digest) return opened.witness;
    if (config === null) {
      this.close();
      throw new Error("cluster.yaml names no witness");
    }
    const secret = (key: string): string | null => {
      const value = this.secrets.values(WITNESS_SECRETS, [key])[key];
      return value === undefined ? null : Buffer.from(value).toString("utf8");
    };
    // In memory they are already, in what was opened with them.
    const credentials = JSON.stringify(SECRETS_OF[config.kind].map(secret));
    if (opened !== null && opened.config === config && opened.credentials === credentials) {
      opened.digest = digest;
      return opened.witness;
    }
    this.close();
    const witness = openWitness(config, this.cluster, { secret, deadlineMs });
    this.#opened = { config, credentials, digest, deadlineMs, witness };
    return witness;
  }

  /** Gives the lease of a module back, if this node has it. */
  release(module: string): void {
    const witness = this.#opened?.witness;
    if (witness?.records !== true) return;
    const given = witness.release(module).then(() => {
      this.#given.delete(given);
    });
    this.#given.add(given);
  }

  /** Waits for the leases that are being given back, at most as long as for an answer, and closes. */
  async finish(): Promise<void> {
    await Promise.all(this.#given);
    this.close();
  }

  /** Ends what is under way. */
  close(): void {
    this.#opened?.witness.close();
    this.#opened = null;
  }
}

/** The core counts on `performance.now()`, the witness on the shared clock. */
const asNow = (shared: number): number => performance.now() + shared - sharedClock();

async function askRecorder(
  witness: RecordingWitness,
  module: string,
  question: Question,
  leaseMs: number,
): Promise<WitnessAnswer> {
  switch (question.do) {
    case "askLease": {
      const answer = await witness.renew(module, leaseMs);
      if (answer.kind === "granted")
        return { kind: "granted", sentAt: asNow(answer.sentAt), word: answer.record };
      return answer.kind === "refused" ? { kind: "refused", why: answer.why, word: answer.record } : answer;
    }
    case "recordSole": {
      const { sole, generation, expected } = question;
      const answer = await witness.recordSole(module, sole, generation, expected);
      if (answer.kind === "unknown") return answer;
      return { kind: answer.kind === "recorded" ? "recorded" : "changed", word: answer.record };
    }
    case "readWitness": {
      const answer = await witness.read(module);
      return answer.kind === "unknown" ? answer : { kind: "record", word: answer.record };
    }
  }
}

async function askPing(witness: Exclude<Witness, RecordingWitness>): Promise<WitnessAnswer> {
  const sentAt = performance.now();
  if (await witness.isReached()) return { kind: "granted", sentAt };
  return { kind: "unknown", why: `${witness.name} does not answer` };
}
