/**
 * The MAC address of a farm in `mode: invisible`. Pure.
 */
import { createHash } from "node:crypto";
import { inOrder } from "./assignment.ts";

/**
 * A unicast MAC address that all nodes derive alike, and no card has: its first byte says that an administrator gave it (IEEE 802c, quadrant AAI).
 * `cluster` is the cluster's name, `addresses` the farm's virtual ones.
 */
export function virtualMacOf(cluster: string, addresses: readonly string[]): string {
  const digest = createHash("sha256")
    .update(JSON.stringify([cluster, ...inOrder(addresses)]))
    .digest();
  return ["02", ...Array.from(digest.subarray(0, 5), (byte) => byte.toString(16).padStart(2, "0"))].join(":");
}
