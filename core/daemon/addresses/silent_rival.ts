/**
 * Of a farm in `mode: invisible`: a node that is not heard and serves on this very network all the same, as where a firewall lets no heartbeat through.
 * It and this node would both answer every client, and the client would reset what has two answers. What tells this from a network that is cut, where
 * both sides have to serve, is the wire itself: while a node is not heard, the wire is asked who answers for the address.
 */
import { elected } from "../../farm/assignment.ts";
import { parseCidr } from "../../network/address.ts";
import type { VirtualAddress, VirtualIp } from "../../network/virtual_ip.ts";

/** See the top of the file. */
export class SilentRival {
  /** By node, since when it is not heard, ms. */
  #since: ReadonlyMap<string, number> = new Map();
  #askedAt = Number.NEGATIVE_INFINITY;
  #isAsking = false;
  /** The node that answered last time. */
  #answered: string | null = null;

  constructor(
    private readonly address: VirtualAddress,
    private readonly network: VirtualIp,
  ) {}

  /**
   * Looked at often: the node for whose sake this one takes no new clients; null: there is none. Of two sides that one gives in whose node that answers
   * would not do so if they heard each other. `absent`: by node that is not heard, its MAC address. `serving`: those that serve, as far as is known here.
   * Who has just fallen silent is not asked before another `everyMs` has passed: its addresses outlive its daemon for a moment.
   */
  look(absent: ReadonlyMap<string, string>, serving: readonly string[], everyMs: number): string | null {
    const now = performance.now();
    this.#since = new Map([...absent.keys()].map((node) => [node, this.#since.get(node) ?? now]));
    const silent = new Map([...absent].filter(([node]) => now - this.#since.get(node)! > everyMs));
    if (silent.size > 0 && !this.#isAsking && now - this.#askedAt > everyMs) void this.#ask(silent);
    if (!silent.has(this.#answered ?? "")) this.#answered = null;
    const node = this.#answered;
    if (node === null) return null;
    return elected(parseCidr(this.address.address).host, [...serving, node]) === node ? node : null;
  }

  async #ask(silent: ReadonlyMap<string, string>): Promise<void> {
    this.#isAsking = true;
    try {
      const mac = await this.network.answersFrom(this.address, new Set(silent.values()));
      this.#answered = [...silent].find(([, known]) => known === mac)?.[0] ?? null;
    } catch {
      // The interface went down: what then is to be done is done by who looks after the address.
      this.#answered = null;
    } finally {
      this.#isAsking = false;
      this.#askedAt = performance.now();
    }
  }
}
