/**
 * Virtual addresses of this node: taken, announced, watched and given up. The door of core/network, with deadline.ts.
 *
 * An address is asked for before it is taken, since two machines that answer for one address are worse than none.
 */
import { addressText, type Cidr, macText, parseCidr, parseMac, sameBytes, sameNetwork } from "./address.ts";
import { resetConnections } from "./connections.ts";
import { Interfaces, type Link, type SavedRoute } from "./interfaces.ts";
import { announce, type Claim, whoHas } from "./neighbours.ts";

/** A virtual address as module.yaml has it. */
export interface VirtualAddress {
  /** CIDR form. */
  address: string;
  /** The interface's name; found from the lan that holds the subnet when absent. */
  interface?: string | undefined;
}

/** How a virtual address fares that this node has taken. */
export interface AddressReport {
  address: string;
  state: "up" | "missing" | "duplicate";
  detail: string;
}

/** What giving up an address did. */
export interface ReleaseReport {
  /** TCP connections that were reset. */
  connectionsReset: number;
  /** Something that could not be done, for the log; the address is gone nevertheless. */
  warning: string | null;
}

/** How `up` asks around before it takes an address, ms. */
export interface ProbeOptions {
  /** How long an answer is waited for; default 120. */
  probeMs?: number;
  /** How long to wait for another holder to fall silent before giving up; default 0. */
  patienceMs?: number;
  /** Asked when the wire has answered: false when that took so long (this process was stopped, maybe) that the right to the address may have gone. */
  mayTake?: () => boolean;
  /**
   * Asked before the neighbours are told, each time: false when the right to the address may have gone meanwhile. What is told goes by a packet socket, past every rule
   * that silences an address, and a process that was stopped does first of all what was due while it slept. Default: always true.
   */
  maySpeak?: () => boolean;
}

/** Another machine answers for the address. */
export class DuplicateAddressError extends Error {}

const PROBE_MS = 120;
/** Announcements after the first, and the time between two, ms: caches may miss one. */
const REPEATS = 5;
const REPEAT_EVERY_MS = 1000;

/** An address that this node has taken. */
interface Held {
  cidr: Cidr;
  link: Link;
  /** The MAC address that it is told with. */
  mac: Uint8Array;
  maySpeak: () => boolean;
  repeat: ReturnType<typeof setInterval>;
}

/** The virtual addresses of this node, in the network namespace of this process. */
export class VirtualIp {
  readonly #interfaces = new Interfaces();
  readonly #lanAddresses: readonly Uint8Array[];
  readonly #held = new Map<string, Held>();
  /** The latest wish for an address: `up` looks at it again after its question to the wire. */
  readonly #wishes = new Map<string, symbol>();
  /** Routes that preferred an address as their source, for when it comes back. */
  readonly #routes = new Map<string, SavedRoute[]>();

  /** `lans`: this node's own address on each lan. Throws when netlink is refused. */
  constructor(lans: Readonly<Record<string, string>>) {
    this.#lanAddresses = Object.values(lans).map((address) => parseCidr(address).bytes);
  }

  /**
   * Takes an address and tells the neighbours, at once and five times more. Harmless when it is here already.
   * Throws a DuplicateAddressError when another machine answers for it, and an Error that says what to do otherwise.
   */
  async up(wanted: VirtualAddress, options: ProbeOptions = {}): Promise<void> {
    const cidr = parseCidr(wanted.address);
    const wish = Symbol(cidr.text);
    this.#wishes.set(cidr.host, wish);
    const link = this.#linkFor(cidr, wanted.interface);
    const here = this.#interfaces.holding(cidr);
    const elsewhere = here.find(({ index }) => index !== link.index);
    if (elsewhere)
      throw new Error(
        `${cidr.host} is on ${this.#nameOf(elsewhere.index)} of this node already: remove it there`,
      );
    if (here.length === 0) {
      await this.#ensureFree(link, cidr, options);
      if (this.#wishes.get(cidr.host) !== wish || options.mayTake?.() === false)
        throw new Error(`${cidr.host} was given up while it was being taken`);
      this.#interfaces.add(cidr, link);
    }
    for (const route of this.#routes.get(cidr.host) ?? []) this.#interfaces.restore(route, true);
    this.#routes.delete(cidr.host);
    const { maySpeak = always } = options;
    if (maySpeak()) announce(link, cidr);
    this.#hold(cidr, link, link.mac, maySpeak);
  }

  /** Where an address belongs. Throws when there is no such interface, or it is down. */
  linkOf(wanted: VirtualAddress): Link {
    return this.#linkFor(parseCidr(wanted.address), wanted.interface);
  }

  /** Puts an address that several machines share on its interface, without a question or a word: see core/farm. Harmless when it is here already. Throws. */
  place(wanted: VirtualAddress): void {
    const cidr = parseCidr(wanted.address);
    const link = this.linkOf(wanted);
    if (!this.#interfaces.holding(cidr).some(({ index }) => index === link.index))
      this.#interfaces.add(cidr, link);
  }

  /**
   * Tells the neighbours that this machine answers for a shared address from now on, at once and five times more; with the MAC address that it
   * shares, too, where there is one. `maySpeak` is asked each time, as by `up`. Throws.
   */
  proclaim(wanted: VirtualAddress, maySpeak: () => boolean, sharedMac?: string): void {
    const cidr = parseCidr(wanted.address);
    const link = this.linkOf(wanted);
    const mac = sharedMac === undefined ? link.mac : parseMac(sharedMac);
    if (maySpeak()) announce(link, cidr, mac);
    this.#hold(cidr, link, mac, maySpeak);
  }

  /** Frames to a MAC address that several machines share reach this one, at the interface where an address belongs. Throws. */
  hear(wanted: VirtualAddress, mac: string): void {
    this.#interfaces.addMac(this.linkOf(wanted), parseMac(mac));
  }

  /** And no longer, wherever it is. Throws when netlink is refused. */
  ignore(mac: string): void {
    for (const link of this.#interfaces.links()) this.#interfaces.removeMac(link, parseMac(mac));
  }

  /** Another machine answers for a shared address now. */
  hush(wanted: VirtualAddress): void {
    const { host } = parseCidr(wanted.address);
    clearInterval(this.#held.get(host)?.repeat);
    this.#held.delete(host);
  }

  /** MAC address of another machine that answers for an address now, or null. Waits for answers. Throws. */
  async answererOf(wanted: VirtualAddress, probeMs = PROBE_MS): Promise<string | null> {
    const claim = await whoHas(this.linkOf(wanted), parseCidr(wanted.address), probeMs);
    return claim && macText(claim.mac);
  }

  /** The one of these MAC addresses from which an address is answered for now, whatever MAC address the answer tells; null after `probeMs` of silence. Throws. */
  async answersFrom(
    wanted: VirtualAddress,
    macs: ReadonlySet<string>,
    probeMs = PROBE_MS,
  ): Promise<string | null> {
    const isAnother = ({ sender }: Claim): boolean => !macs.has(macText(sender));
    const claim = await whoHas(this.linkOf(wanted), parseCidr(wanted.address), probeMs, isAnother);
    return claim && macText(claim.sender);
  }

  /** The machine's own address beside a virtual one, on its interface: in its network rather than not; null where there is none. `others` are virtual, too. */
  besides(wanted: VirtualAddress, others: readonly string[]): string | null {
    const cidr = parseCidr(wanted.address);
    const link = this.linkOf(wanted);
    const virtual = others.map((address) => parseCidr(address).bytes);
    const near = (bytes: Uint8Array): number => Number(sameNetwork(bytes, cidr.bytes, cidr.prefix));
    const [first] = this.#interfaces
      .addresses()
      .filter(({ index, version }) => index === link.index && version === cidr.version)
      .filter(({ bytes }) => !virtual.some((other) => sameBytes(other, bytes)))
      .sort((one, other) => near(other.bytes) - near(one.bytes));
    return first ? addressText(first.bytes) : null;
  }

  /**
   * Gives an address up: resets its connections, removes it, keeps the routes that would go with it. Synchronous, a
   * few milliseconds. Harmless when it is not here. Throws when the kernel refuses to remove it.
   */
  down(given: VirtualAddress | string): ReleaseReport {
    const cidr = parseCidr(typeof given === "string" ? given : given.address);
    this.#wishes.delete(cidr.host);
    clearInterval(this.#held.get(cidr.host)?.repeat);
    this.#held.delete(cidr.host);
    const here = this.#interfaces.holding(cidr);
    const report: ReleaseReport = { connectionsReset: 0, warning: null };
    // Before the address goes, so that the resets can leave; and after, for who connected in between.
    tryReset(cidr, report);
    if (here.length === 0) return report;
    const routes = this.#interfaces.routesFrom(cidr);
    const links = this.#interfaces.links();
    for (const assigned of here) {
      const link = links.find(({ index }) => index === assigned.index);
      if (link) this.#interfaces.remove(assigned, link);
    }
    tryReset(cidr, report);
    if (routes.length > 0) this.#keepRoutes(cidr, routes, report);
    return report;
  }

  /** Removes what an earlier run left: call it at start, before anything is taken. Throws like `down`. */
  cleanup(addresses: readonly (VirtualAddress | string)[]): void {
    for (const address of addresses) this.down(address);
  }

  /** Tells the neighbours again, for every address that is held and may speak; once a minute is enough. */
  announce(): void {
    for (const { cidr, link, mac, maySpeak } of this.#held.values())
      try {
        if (maySpeak()) announce(link, cidr, mac);
      } catch {
        // The interface went down; `check` reports it, with the reason.
      }
  }

  /** Looks whether each address that was taken is still here, and here alone. Waits for answers, 120 ms. Throws. */
  async check(probeMs = PROBE_MS): Promise<AddressReport[]> {
    return await Promise.all(
      [...this.#held.values()].map(async ({ cidr, link }): Promise<AddressReport> => {
        const address = cidr.text;
        const now = this.#interfaces.links().find(({ index }) => index === link.index);
        if (!now?.up) return { address, state: "missing", detail: `interface ${link.name} is down or gone` };
        if (!this.#interfaces.holding(cidr).some(({ index }) => index === link.index))
          return { address, state: "missing", detail: `someone removed it from ${link.name}` };
        const other = await whoHas(link, cidr, probeMs);
        if (!other) return { address, state: "up", detail: `on ${link.name}` };
        return {
          address,
          state: "duplicate",
          detail: `${macText(other.mac)} on ${link.name} answers for it, too`,
        };
      }),
    );
  }

  /** Stops announcing and gives the sockets back; addresses stay where they are. */
  close(): void {
    for (const { repeat } of this.#held.values()) clearInterval(repeat);
    this.#held.clear();
    this.#interfaces.close();
  }

  async #ensureFree(link: Link, cidr: Cidr, options: ProbeOptions): Promise<void> {
    const started = performance.now();
    for (;;) {
      const other = await whoHas(link, cidr, options.probeMs ?? PROBE_MS);
      if (!other) return;
      if (performance.now() - started >= (options.patienceMs ?? 0))
        throw new DuplicateAddressError(
          `${cidr.host} is in use: ${macText(other.mac)} on ${link.name} answers for it; stop that machine's use of it`,
        );
    }
  }

  #hold(cidr: Cidr, link: Link, mac: Uint8Array, maySpeak: () => boolean): void {
    clearInterval(this.#held.get(cidr.host)?.repeat);
    let left = REPEATS;
    const repeat = setInterval(() => {
      if (--left <= 0) clearInterval(repeat);
      try {
        if (maySpeak()) announce(link, cidr, mac);
      } catch {
        // The interface went down; `check` reports it, with the reason.
        clearInterval(repeat);
      }
    }, REPEAT_EVERY_MS);
    repeat.unref();
    this.#held.set(cidr.host, { cidr, link, mac, maySpeak, repeat });
  }

  #keepRoutes(cidr: Cidr, routes: SavedRoute[], report: ReleaseReport): void {
    this.#routes.set(cidr.host, routes);
    try {
      for (const route of routes) this.#interfaces.restore(route, false);
    } catch (error) {
      report.warning = `a route that preferred ${cidr.host} is gone with it: ${(error as Error).message}`;
    }
  }

  #nameOf(index: number): string {
    return this.#interfaces.links().find((link) => link.index === index)?.name ?? `interface ${index}`;
  }

  /** The interface that is named, or whose own address is in the network of the virtual one; lans of the cluster first. */
  #linkFor(cidr: Cidr, name: string | undefined): Link {
    const links = this.#interfaces.links();
    const names = links.map((link) => link.name).join(", ");
    const link =
      name === undefined ? this.#linkOfNetwork(cidr, links) : links.find((one) => one.name === name);
    if (!link)
      throw new Error(
        name === undefined
          ? `no interface of this node has an address in the network of ${cidr.text}: name one with \`interface:\` (here: ${names})`
          : `there is no interface ${name} on this node (here: ${names})`,
      );
    if (!link.up) throw new Error(`${cidr.text}: interface ${link.name} is down: bring it up`);
    return link;
  }

  #linkOfNetwork(cidr: Cidr, links: readonly Link[]): Link | undefined {
    const isLan = (bytes: Uint8Array): boolean => this.#lanAddresses.some((lan) => sameBytes(lan, bytes));
    const near = this.#interfaces
      .addresses()
      .filter(({ bytes, prefix }) => !sameBytes(bytes, cidr.bytes) && sameNetwork(bytes, cidr.bytes, prefix))
      .sort((a, b) => Number(isLan(b.bytes)) - Number(isLan(a.bytes)) || b.prefix - a.prefix);
    return links.find(({ index }) => index === near[0]?.index);
  }
}

const always = (): boolean => true;

/** Opens the network of this node. `lans`: its own address on each lan. Throws. */
export function openNetwork(lans: Readonly<Record<string, string>>): VirtualIp {
  return new VirtualIp(lans);
}

function tryReset(cidr: Cidr, report: ReleaseReport): void {
  try {
    report.connectionsReset += resetConnections(cidr);
  } catch (error) {
    report.warning = `connections to ${cidr.host} were not reset: ${(error as Error).message}`;
  }
}
