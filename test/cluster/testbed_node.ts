/** A machine with a disk on which Holdfast runs: the disk's life, the daemon, the command line. */
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { cutDisk, loopsOf } from "./testbed_disk.ts";
import { Host } from "./testbed_host.ts";
import {
  type CommandOptions,
  cgroupMount,
  type Ended,
  type Machine,
  type MachineProcess,
  type MachineSpec,
  run,
  until,
} from "./testbed_machine.ts";

/** A machine with a disk that keeps `varDir` and `dataDir`, and a daemon when asked. */
export class Node extends Host {
  /** VAR of this node. The path is the same on every node. */
  get varDir(): string {
    return `${this.bed.diskDir}/var`;
  }
  /** A directory on the same disk, for the application's data. The path is the same on every node. */
  get dataDir(): string {
    return `${this.bed.diskDir}/data`;
  }
  /** What the daemon prints; outside the node, so that it survives a power cut. */
  get daemonLog(): string {
    return `${this.bed.dir}/${this.name}.daemon.log`;
  }

  protected override spec(): MachineSpec {
    const mount = cgroupMount();
    return {
      ...super.spec(),
      cgroup: mount ? `${mount}/${this.bed.id}-${this.name}` : null,
      cgroupMount: mount,
      disk: { image: this.#image, mountPoint: this.bed.diskDir },
    };
  }

  get #image(): string {
    const { imageDirs } = this.bed;
    return `${imageDirs[(this.number - 1) % imageDirs.length]}/${this.name}.img`;
  }

  /** Makes an empty disk. */
  async format(mebibytes: number, inodes?: number): Promise<void> {
    await run(["truncate", "-s", `${mebibytes}M`, this.#image]);
    const room = inodes === undefined ? [] : ["-N", `${inodes}`];
    await run(["mkfs.ext4", "-q", "-m", "0", ...room, "-F", this.#image]);
  }

  protected override cutPower(machine: Machine): void {
    cutDisk(machine.path(this.bed.diskDir));
  }

  protected override async powerIsOff(): Promise<void> {
    await until(`the disk of ${this.name} is released`, () => loopsOf(this.#image).length === 0);
  }

  /** Runs `holdfast ARGS --var VAR`; throws with its output when it fails, unless `mayFail`. */
  holdfast(args: readonly string[], options?: CommandOptions): Promise<Ended> {
    return this.exec([this.bed.binary, ...args, "--var", this.varDir], options);
  }

  /** `holdfast ARGS --json`, parsed. */
  async json<T = unknown>(args: readonly string[], options?: CommandOptions): Promise<T> {
    return JSON.parse((await this.holdfast([...args, "--json"], options)).stdout) as T;
  }

  /** Starts the daemon and waits until its command socket answers. */
  async startDaemon(env: Record<string, string> = {}): Promise<MachineProcess> {
    const socket = `${this.varDir}/run/api.sock`;
    // One that was just killed accepts connections until the kernel has buried it, and the next would find it there.
    await until(
      `the former daemon of ${this.name} has ended`,
      async () => !(await connects(this.on.path(socket))),
      5000,
      5,
    );
    // In a session of its own that goes first from its first moment, and with the environment, as the service manager's unit has it.
    const first = 'echo -15 > /proc/self/autogroup; exec "$@"';
    const words = ["setsid", "bash", "--norc", "-c", first, "first", this.bed.binary, "daemon"];
    const daemon = await this.spawn([...words, "--var", this.varDir], {
      log: this.daemonLog,
      env: { MIMALLOC_PURGE_DELAY: "-1", ...env },
    });
    let ended = false;
    void daemon.exited.then(() => (ended = true));
    try {
      await until(
        `the daemon of ${this.name} answers at ${socket}`,
        async () => {
          if (ended) throw new Error(`the daemon of ${this.name} ended at once`);
          return connects(this.on.path(socket));
        },
        15_000,
      );
    } catch (error) {
      throw new Error(`${(error as Error).message}; it said:\n${readFileSync(this.daemonLog, "utf8")}`);
    }
    return daemon;
  }
}

/** True when something accepts connections at the Unix socket. */
function connects(path: string): Promise<boolean> {
  return new Promise((answer) => {
    const socket = connect({ path });
    socket.once("connect", () => {
      socket.destroy();
      answer(true);
    });
    socket.once("error", () => answer(false));
  });
}
