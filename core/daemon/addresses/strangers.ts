/** Before a node of a farm takes an address: a machine that is not of the farm may have it. */
import type { VirtualAddress, VirtualIp } from "../../network/virtual_ip.ts";

/** How long such a machine has to stop answering for the address, ms. */
const PATIENCE_MS = 2000;
const PROBE_MS = 60;
const AGAIN_MS = 10;

/** Resolves once nobody answers for the address, or a node of the farm does. Throws when another machine goes on answering. */
export async function refuseStrangers(
  address: VirtualAddress,
  network: VirtualIp,
  isOurs: (mac: string) => boolean,
): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const mac = await network.answererOf(address, PROBE_MS);
    if (mac === null || isOurs(mac)) return;
    if (performance.now() > end)
      throw new Error(
        `${address.address} is in use: ${mac}, which is no node of this farm, answers for it; stop that machine's use of it`,
      );
    await Bun.sleep(AGAIN_MS);
  }
}
