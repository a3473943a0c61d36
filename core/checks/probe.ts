/** How a checker looks at its subject. */
import type { Finding } from "./judgement.ts";

/** Looks, again and again, never twice at once. */
export interface Probe {
  /** One look. `signal` is aborted at its time limit. A throw counts as down, with the reason. */
  look(signal: AbortSignal): Promise<Finding>;
  /** Nothing of it stays. */
  close?(): void;
}

/** A look found what it should; `detail` for people. */
export const up = (detail = ""): Finding => ({ state: "up", detail });
/** It did not; `detail` says why. */
export const down = (detail: string): Finding => ({ state: "down", detail });
/** It could not look; `detail` says why. */
export const unknown = (detail: string): Finding => ({ state: "unknown", detail });

/** What an error says, in one line. */
export function words(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split("\n")[0]!.slice(0, 300);
}
