/**
 * The cluster's witness, as one module of this node knows it: asked with the module's own timings, and shown among its resources.
 */
import type { Cluster } from "../../cluster/cluster.ts";
import type { FailoverConfig, WitnessAnswer } from "../../failover/types.ts";
import { recordsAnything } from "../../witness/config.ts";
import { witnessPromise } from "../../witness/promise.ts";
import type { WitnessDesk } from "../witness_desk.ts";
import type { Question } from "./supervisor.ts";

/** What it is made of. */
export interface WitnessParts {
  module: string;
  /** The other node of a mirror. */
  peer: string | null;
  cluster: Pick<Cluster, "witness">;
  desk: Pick<WitnessDesk, "ask" | "release">;
  /** The heartbeat timeout that the nodes promise by, as it is now, ms. */
  timeoutMs(): number;
  /** The resource `splitbrain.witness` was looked at. */
  note(state: "up" | "down", detail: string): void;
}

/** See the top of the file. */
export class ModuleWitness {
  #known: Cluster["witness"];

  constructor(private readonly parts: WitnessParts) {
    this.#known = parts.cluster.witness;
  }

  /** For the failover core; null where nobody is asked. */
  get config(): NonNullable<FailoverConfig["witness"]> | null {
    const { cluster, peer } = this.parts;
    if (cluster.witness === null || peer === null) return null;
    return { records: recordsAnything(cluster.witness), leaseMs: this.parts.timeoutMs() };
  }

  /** Did cluster.yaml come to name another, or none, since this was last asked? */
  hasChanged(): boolean {
    const { witness } = this.parts.cluster;
    if (witness === this.#known) return false;
    this.#known = witness;
    return true;
  }

  /** Gives the lease back. */
  release(): void {
    this.parts.desk.release(this.parts.module);
  }

  /** Never rejects. */
  async ask(question: Question): Promise<WitnessAnswer> {
    const { module, cluster, desk } = this.parts;
    const answer = await desk.ask(module, question, this.parts.timeoutMs());
    if (answer.kind === "unknown") this.parts.note("down", answer.why);
    else this.parts.note("up", witnessPromise(cluster.witness));
    return answer;
  }
}
