/** The third party of a mirror on a test bed, on a machine of its own: a Holdfast witness or a real etcd, started, stopped, and robbed of its memory. */
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Etcd } from "./etcd.ts";
import { type Host, type MachineProcess, type Node, type Testbed, until } from "./testbed.ts";

/** One witness, of whichever kind. */
export interface MirrorWitness {
  readonly host: Host;
  /** Starts it and waits until it listens. */
  start(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Any signal. */
  signal(name: NodeJS.Signals): void;
  /** Takes away all that it has on record; only while it does not run. It still knows its clusters. */
  forget(): void;
  /** Makes it the cluster's. */
  enrol(node: Node): Promise<void>;
}

/** `holdfast witness`. */
export class HoldfastWitness implements MirrorWitness {
  #process: MachineProcess | null = null;
  readonly #dir: string;
  readonly #log: string;

  constructor(
    private readonly bed: Testbed,
    readonly host: Host,
  ) {
    this.#dir = `${bed.dir}/witness`;
    this.#log = `${bed.dir}/witness.log`;
  }

  #argv(...words: string[]): string[] {
    return [
      this.bed.binary,
      "witness",
      ...words,
      "--address",
      this.host.addresses["lan"]!,
      "--var",
      this.#dir,
    ];
  }

  get #said(): string {
    return existsSync(this.#log) ? readFileSync(this.#log, "utf8") : "";
  }

  async start(): Promise<void> {
    const before = this.#said.length;
    this.#process = await this.host.spawn(["setsid", ...this.#argv()], { log: this.#log });
    await until("the witness listens", () => this.#said.slice(before).includes("a witness at"));
  }

  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.#process!.exited;
  }

  signal(name: NodeJS.Signals): void {
    this.#process!.signal(name);
  }

  forget(): void {
    const clusters = join(this.#dir, "witness/clusters");
    for (const cluster of readdirSync(clusters))
      rmSync(join(clusters, cluster, "modules"), { recursive: true, force: true });
  }

  async enrol(node: Node): Promise<void> {
    let answer = "";
    const isAdded = async (): Promise<boolean> => {
      const { stdout } = await this.host.exec(this.#argv("token"));
      const added = await node.holdfast(["cluster", "witness", "add", stdout.trim()], { mayFail: true });
      answer = `${added.stdout}${added.stderr}`;
      return added.status === 0;
    };
    await until("the cluster has its witness", isAdded, 10_000, 200).catch((error: Error) => {
      throw new Error(`${error.message}: ${answer}${this.#said}`);
    });
  }
}

/** etcd, one member. */
export class EtcdWitness implements MirrorWitness {
  readonly #etcd: Etcd;

  constructor(
    bed: Testbed,
    readonly host: Host,
  ) {
    this.#etcd = new Etcd(bed, host, "witness", 0);
  }

  async start(): Promise<void> {
    await this.#etcd.start();
    await this.#etcd.answers();
  }

  kill(): Promise<void> {
    return this.#etcd.kill();
  }

  signal(name: NodeJS.Signals): void {
    this.#etcd.process!.signal(name);
  }

  forget(): void {
    rmSync(this.#etcd.dir, { recursive: true, force: true });
  }

  async enrol(node: Node): Promise<void> {
    const { stdout } = await node.exec(["cat", `${node.varDir}/cluster/cluster.yaml`]);
    const input = `${stdout}witness: { etcd: ["${this.#etcd.url}"] }\n`;
    await node.holdfast(["cluster", "apply", "-"], { input });
  }
}
