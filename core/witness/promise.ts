/** What a cluster's witness is, in words: what it holds the cluster to, and how it answers now. */
import { SecretStore } from "../secrets/secrets.ts";
import { recordsAnything, WITNESS_SECRETS, type WitnessConfig } from "./config.ts";
import { openWitness, type WitnessAsker } from "./open.ts";
import type { ProbeAnswer } from "./witness.ts";

/** How long a person waits for a witness's answer, ms. */
const PROBE_MS = 3000;

/** What the witness is and where, on one line. */
export function witnessText(config: WitnessConfig | null): string {
  switch (config?.kind) {
    case undefined:
      return "none";
    case "node":
      return `Holdfast at ${config.addresses.join(", ")}, port ${config.port}`;
    case "etcd":
      return `etcd at ${config.endpoints.join(", ")}`;
    case "s3":
      return `bucket ${config.bucket} at ${config.endpoint}`;
    case "ping":
      return `ping ${config.addresses.join(", ")}`;
  }
}

/** Which promise holds with it; where it does not answer, what that means until it does. */
export function witnessPromise(config: WitnessConfig | null, answers = true): string {
  if (config !== null && !answers)
    return recordsAnything(config)
      ? "until it answers, two nodes that lose each other both stop (then holdfast prim NAME --force on one, when the other is off); nodes that hear each other go on, and so does one that is ALONE on its record"
      : "until one answers, a node that does not hear the other does not go on alone (then holdfast prim NAME --force on one, when the other is off); nodes that hear each other go on";
  if (recordsAnything(config))
    return "of two nodes that lose each other one goes on, never both, and what it acknowledges is never lost";
  const without =
    "when two nodes lose each other, both may run (onIsolation: continue; what the loser wrote is kept) or the secondary waits (onIsolation: wait)";
  return config === null
    ? without
    : `a ping address records nothing: a node that is cut off from it does not go on alone, but two nodes that both reach it may both run`;
}

/** Asks the witness, with the secrets of the node whose state lies in `varDir`. Never rejects. */
export async function probeWitness(
  config: WitnessConfig,
  asker: WitnessAsker,
  varDir: string,
): Promise<ProbeAnswer> {
  try {
    const store = new SecretStore(varDir, asker.node);
    const witness = openWitness(config, asker, {
      secret: (key) => store.values(WITNESS_SECRETS, [key])[key]?.toString("utf8") ?? null,
      deadlineMs: PROBE_MS,
    });
    try {
      return await witness.probe();
    } finally {
      witness.close();
    }
  } catch (error) {
    return { answers: false, detail: (error as Error).message };
  }
}
