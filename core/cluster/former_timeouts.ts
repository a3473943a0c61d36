/**
 * Heartbeat timeouts that other nodes may still go by, since it is not known of all that they have taken the newest cluster.yaml. Until it is,
 * this node promises by the shortest and is patient by the longest: on disk, since a daemon that starts anew must do the same.
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import * as v from "valibot";
import { ClusterError, replaceDurably } from "./credential_files.ts";

const schema = v.strictObject({ least: v.number(), most: v.number() });

/** ms. */
export type FormerTimeouts = v.InferOutput<typeof schema>;

const fileOf = (varDir: string): string => join(varDir, "state", "former_timeouts.json");

/** Null: all nodes go by the same. Throws ClusterError when the file is damaged. */
export function readFormerTimeouts(varDir: string): FormerTimeouts | null {
  const file = fileOf(varDir);
  if (!existsSync(file)) return null;
  try {
    return v.parse(schema, JSON.parse(readFileSync(file, "utf8")));
  } catch (error) {
    throw new ClusterError(
      `${file} is damaged: ${(error as Error).message}; remove it once every node has the same cluster.yaml`,
    );
  }
}

/** One of these counts no longer, and may still be gone by. Durable when it returns. */
export function keepFormerTimeout(
  varDir: string,
  known: FormerTimeouts | null,
  timeoutMs: number,
): FormerTimeouts {
  const former = {
    least: Math.min(known?.least ?? timeoutMs, timeoutMs),
    most: Math.max(known?.most ?? timeoutMs, timeoutMs),
  };
  const file = fileOf(varDir);
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  replaceDurably(file, `${JSON.stringify(former)}\n`);
  return former;
}

/** Every node goes by what cluster.yaml says. */
export function forgetFormerTimeouts(varDir: string): void {
  rmSync(fileOf(varDir), { force: true });
}
