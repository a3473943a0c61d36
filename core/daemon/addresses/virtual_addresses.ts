/**
 * The virtual addresses of one module, with the kernel's deadline around them: first the deadline, then the address, and the
 * other way round, so that there is no moment in which the address could outlive its holder.
 */
import { Deadline } from "../../network/deadline.ts";
import type { VirtualAddress, VirtualIp } from "../../network/virtual_ip.ts";
import { Lease, SPEAKS_FOR } from "../module/lease.ts";
import type { Outcome } from "../module/supervisor.ts";

/** How long another holder has to answer the question whether it is there, ms: clients wait for us meanwhile. */
const PROBE_MS = 60;
/** How long another holder may take to fall silent before an address is refused, ms. */
const OTHER_HOLDER_MS = 2000;

/** Share of the heartbeat timeout after the end of its right at which a node's addresses are silent. */
const SILENCED_WITHIN = 0.06;

/** See the top of the file. */
export class VirtualAddresses {
  readonly #deadline: Deadline | null;
  #held = false;
  readonly #lease = new Lease(() => this.timeoutMs);

  constructor(
    module: string,
    protected readonly addresses: readonly VirtualAddress[],
    protected readonly network: VirtualIp,
    /** The heartbeat timeout, ms; may change while they are held. */
    public timeoutMs: number,
    protected readonly warn: (text: string) => void,
  ) {
    this.#deadline = addresses.length > 0 ? new Deadline(module, this.list, () => this.#devices) : null;
  }

  /** Until when this node may speak for them (`performance.now()`); null: there is no end to it. */
  until: number | null = null;

  /** In CIDR form. */
  get list(): string[] {
    return this.addresses.map(({ address }) => address);
  }

  /** The interfaces that they belong on; one that is down or gone announces nothing. */
  get #devices(): string[] {
    const names = this.addresses.flatMap((address) => {
      try {
        return [this.network.linkOf(address).name];
      } catch {
        return [];
      }
    });
    return [...new Set(names)];
  }

  /** For how long they may speak without another word, ms. */
  get #speaksFor(): number {
    const most = this.timeoutMs * SPEAKS_FOR;
    if (this.until === null) return most;
    const left = this.until - performance.now() + this.timeoutMs * SILENCED_WITHIN;
    return Math.max(1, Math.min(most, left));
  }

  /** May they speak now? A daemon that was stopped finds out here that it slept through the end of it, before it does what was due meanwhile. */
  protected readonly maySpeak = (): boolean => {
    const hasRight = this.until === null || performance.now() < this.until + this.timeoutMs * SILENCED_WITHIN;
    return hasRight && this.#lease.isHeld;
  };

  /** Takes all addresses, or none. */
  async up(): Promise<Outcome> {
    if (!this.#deadline) return { ok: true, detail: "" };
    const without = this.#deadline.install(this.#speaksFor);
    if (without !== null) this.warn(`no kernel-side deadline for the virtual IP: ${without}`);
    this.#held = without === null;
    this.#lease.grant();
    try {
      await this.take(() => this.#lease.isHeld);
      return { ok: true, detail: "" };
    } catch (error) {
      this.down();
      return { ok: false, detail: (error as Error).message };
    }
  }

  /** Takes the addresses; `mayTake` says, once others were asked, whether they may still be taken. Throws. */
  protected async take(mayTake: () => boolean): Promise<void> {
    const { maySpeak } = this;
    const options = { probeMs: PROBE_MS, patienceMs: OTHER_HOLDER_MS, mayTake, maySpeak };
    await Promise.all(this.addresses.map((address) => this.network.up(address, options)));
  }

  /** The application is about to stop; its clients should go elsewhere by then. */
  async close(): Promise<void> {}

  /** Gives all addresses up. Harmless when none is here. */
  down(): Outcome {
    this.#held = false;
    const failures: string[] = [];
    for (const address of this.addresses) {
      try {
        const { warning } = this.network.down(address);
        if (warning) this.warn(warning);
      } catch (error) {
        failures.push((error as Error).message);
      }
    }
    // An address that could not be removed stays silenced by the rules.
    if (failures.length === 0) this.#deadline?.remove();
    else this.#deadline?.silence();
    return { ok: failures.length === 0, detail: failures.join("; ") };
  }

  /** A new daemon goes on with addresses that are here. */
  async adopt(): Promise<void> {
    const { ok, detail } = await this.up();
    if (!ok) this.warn(`virtual IP: ${detail}`);
  }

  /**
   * Once a beat: the addresses may speak on. A daemon that slept through the deadline does not move it (trap 16): another node may
   * have the addresses by now, and who decides will say so.
   */
  hold(): void {
    if (!this.#lease.renew()) {
      if (this.#held) this.warn("the virtual IP fell silent: this node's daemon did not run in time");
      this.#held = false;
      return;
    }
    if (this.#held) this.#deadline?.refresh(this.#speaksFor, this.maySpeak);
  }
}
