/**
 * Taking a virtual address from this node without the daemon's help, as fencing does.
 */
import { openNetwork, type VirtualIp } from "../../network/virtual_ip.ts";

let network: VirtualIp | null = null;

/** Removes an address (CIDR form) and resets its connections. Harmless when it is not here. Throws when the kernel refuses. */
export function silence(address: string): void {
  network ??= openNetwork({});
  network.down(address);
}
