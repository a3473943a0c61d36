/** A machine of a testbed: its place in the lans, its power switch, and what can be run and seen on it. */
import type { Testbed } from "./testbed.ts";
import {
  type CommandOptions,
  type Ended,
  Machine,
  type MachineProcess,
  type MachineSpec,
  run,
  sendSignal,
} from "./testbed_machine.ts";

/** A machine of the testbed, on or off. Its address is the same after each boot. */
export class Host {
  readonly name: string;
  readonly bed: Testbed;
  readonly number: number;
  /** Addresses by lan, without prefix length. */
  readonly addresses: Record<string, string>;
  readonly addresses6: Record<string, string>;
  protected machine: Machine | null = null;
  readonly #lans: readonly string[];

  constructor(bed: Testbed, name: string, number: number, lans: readonly string[]) {
    this.bed = bed;
    this.name = name;
    this.number = number;
    this.#lans = lans;
    const network = (lan: string): number => 77 + bed.lans.indexOf(lan);
    this.addresses = Object.fromEntries(lans.map((lan) => [lan, `10.${network(lan)}.0.${number}`]));
    this.addresses6 = Object.fromEntries(lans.map((lan) => [lan, `fd${network(lan)}::${number}`]));
  }

  /** The machine while it is on; throws while it is off. */
  get on(): Machine {
    if (!this.machine) throw new Error(`${this.name} is off`);
    return this.machine;
  }

  /** Process 1, as seen from here. */
  get pid(): number {
    return this.on.pid;
  }

  /** MAC address on a lan: the same after each boot, as on real hardware. */
  mac(lan: string): string {
    return `02:77:${hex(this.bed.lans.indexOf(lan))}:00:00:${hex(this.number)}`;
  }

  protected spec(): MachineSpec {
    return { name: this.name, hub: this.bed.pid, cgroup: null, cgroupMount: null, disk: null };
  }

  /** Switches the machine on: fresh namespaces, no address, ruleset or process of before. */
  async powerOn(): Promise<void> {
    if (this.machine) throw new Error(`${this.name} is on already`);
    const machine = await Machine.boot(this.spec());
    const outside: string[] = [];
    const inside: string[] = [];
    for (const lan of this.#lans) {
      const port = `${this.name}-${lan}`;
      outside.push(
        `link add ${port} type veth peer name ${lan} address ${this.mac(lan)} netns ${machine.pid}`,
        `link set ${port} master br-${lan} up`,
      );
      inside.push(
        `addr add ${this.addresses[lan]}/24 dev ${lan}`,
        `addr add ${this.addresses6[lan]}/64 dev ${lan} nodad`,
        `link set ${lan} up`,
      );
    }
    await this.bed.ip(outside);
    await run(["nsenter", "--target", `${machine.pid}`, "--net", "ip", "-batch", "-"], inside.join("\n"));
    this.machine = machine;
  }

  /** Takes the links away, then ends every process. The disk of a node is cut in between. */
  async powerCut(): Promise<void> {
    const machine = this.on;
    await this.bed.ip(this.#lans.map((lan) => `link set ${this.name}-${lan} down`));
    this.cutPower(machine);
    this.machine = null;
    await machine.kill();
    await this.bed.ip(
      this.#lans.map((lan) => `link del ${this.name}-${lan}`),
      true,
    );
    await this.powerIsOff();
  }

  protected cutPower(_machine: Machine): void {}
  protected async powerIsOff(): Promise<void> {}

  /** Runs a command to its end; throws with its output when it fails, unless `mayFail`. */
  exec(argv: readonly string[], options?: CommandOptions): Promise<Ended> {
    return this.on.exec(argv, options);
  }

  /** Starts a command. */
  spawn(argv: readonly string[], options?: CommandOptions): Promise<MachineProcess> {
    return this.on.spawn(argv, options);
  }

  /** Every process on the machine, process 1 apart. */
  processes(): { pid: number; command: string }[] {
    return this.on.processes();
  }

  /** SIGKILL for a process of `processes()` or `spawn`, by its pid as seen from here. */
  kill9(pid: number): void {
    sendSignal(pid, "SIGKILL");
  }

  /** Any signal, likewise. */
  signal(pid: number, name: NodeJS.Signals): void {
    sendSignal(pid, name);
    if (name === "SIGCONT") this.on.wakeOuters();
  }

  /** Lets stopped commands be buried; harmless when it is off. */
  wakeOuters(): void {
    this.machine?.wakeOuters();
  }

  /** The neighbour table on the first lan: address to MAC, without entries that are failed or incomplete. */
  async arpTable(): Promise<Record<string, string>> {
    const { stdout } = await this.exec(["ip", "neigh", "show", "dev", this.#lans[0]!]);
    const table: Record<string, string> = {};
    for (const line of stdout.split("\n")) {
      const found = /^(\S+) lladdr (\S+)/.exec(line);
      if (found) table[found[1]!] = found[2]!;
    }
    return table;
  }

  /** Names of the machines whose network cards answer ARP (or neighbour discovery) for `address` right now. */
  async whoAnswers(address: string): Promise<string[]> {
    const lan = this.#lans[0]!;
    const macs = address.includes(":")
      ? await this.#whoAnswers6(address, lan)
      : await this.#whoAnswers4(address, lan);
    return [...new Set(macs)].map((mac) => this.bed.nameOfMac(mac));
  }

  async #whoAnswers4(address: string, lan: string): Promise<string[]> {
    const asked = ["arping", "-r", "-c", "2", "-W", "0.15", "-i", lan, "-S", this.addresses[lan]!, address];
    const { stdout } = await this.exec(asked, { mayFail: true, timeoutMs: 5000 });
    return stdout.split("\n").filter((line) => line.includes(":"));
  }

  async #whoAnswers6(address: string, lan: string): Promise<string[]> {
    const ask = `ip -6 neigh flush dev ${lan} ${address}; ping -6 -c1 -W1 -I ${lan} ${address} >/dev/null; ip -6 neigh show ${address} dev ${lan}`;
    const { stdout } = await this.exec(["bash", "-c", ask], { mayFail: true, timeoutMs: 5000 });
    return [...stdout.matchAll(/lladdr (\S+)/g)].map((found) => found[1]!);
  }

  /** True when `address` answers a ping within `waitMs`. */
  async pings(address: string, waitMs = 2000): Promise<boolean> {
    const { status } = await this.exec(["ping", "-n", "-c1", "-W", `${waitMs / 1000}`, address], {
      mayFail: true,
    });
    return status === 0;
  }
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}
