/**
 * What the wire is told of who answers for a farm's addresses. Every node has them, and one answers who asks; the filter keeps the others silent. But
 * neighbours and switches go by what they heard last: who comes to answer says so unasked, and who no longer does stops to repeat it.
 */
import { inOrder } from "../../farm/assignment.ts";
import { virtualMacOf } from "../../farm/virtual_mac.ts";
import { areSettled, type FarmPlan, type FarmWord } from "../../farm/word.ts";
import type { VirtualAddress, VirtualIp } from "../../network/virtual_ip.ts";

/** What it is made of. */
export interface VoiceParts {
  /** This node, and the name of its cluster. */
  node: string;
  cluster: string;
  mode: "directed" | "invisible";
  addresses: readonly VirtualAddress[];
  network: Pick<VirtualIp, "proclaim" | "hush" | "hear" | "ignore">;
  warn(text: string): void;
  /** Has this node still the right to speak for them? */
  maySpeak(): boolean;
}

/** See the top of the file. */
export class FarmVoice {
  /** Of the addresses that this node answers for, when that was said. */
  #said: string[] = [];
  readonly #sharedMac: string;
  /** Of the addresses, in `mode: invisible` only. */
  readonly virtualMac: string | undefined;

  constructor(private readonly parts: VoiceParts) {
    const { cluster, mode, addresses } = parts;
    const list = addresses.map(({ address }) => address);
    this.#sharedMac = virtualMacOf(cluster, list);
    this.virtualMac = mode === "invisible" ? this.#sharedMac : undefined;
  }

  /** Frames to the MAC address that the nodes share reach this one, where there is one. Throws. */
  hear(): void {
    const { network, addresses } = this.parts;
    if (this.virtualMac !== undefined) network.hear(addresses[0]!, this.virtualMac);
  }

  /** And no longer, also where the mode was another one when this machine crashed. Throws when netlink is refused. */
  ignore(): void {
    this.parts.network.ignore(this.#sharedMac);
  }

  /** The one that answers says so when it becomes it, again whenever others came, and once all go by the same: they may have said it meanwhile. */
  proclaim(plan: FarmPlan, others: ReadonlyMap<string, FarmWord>): void {
    const { node, addresses, network, maySpeak, warn } = this.parts;
    const own = addresses.filter(({ address }) => plan.answers(address) === node);
    const when = `${inOrder([...others.keys()]).join()} ${areSettled(others, plan.number)}`;
    for (const address of addresses) if (!own.includes(address)) network.hush(address);
    for (const address of own) {
      if (this.#said.includes(`${address.address} ${when}`)) continue;
      try {
        network.proclaim(address, maySpeak, this.virtualMac);
      } catch (error) {
        warn(`${address.address} could not be announced: ${(error as Error).message}`);
      }
    }
    this.#said = own.map(({ address }) => `${address} ${when}`);
  }

  /** This node answers for none of them any more. */
  hush(): void {
    this.#said = [];
    for (const address of this.parts.addresses) this.parts.network.hush(address);
  }
}
