/**
 * A container engine on the nodes of a mirror, and a container that counts: each number is on both disks before it is told outside.
 */
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { lastWords } from "../campaign/power_cuts.ts";
import { templateFiles } from "./from_template.ts";
import { createMirror, type Mirror, VIRTUAL_IP } from "./mirror.ts";
import { ownSystem } from "./own_system.ts";
import { type Node, testbedImpossible, until } from "./testbed.ts";

/** An engine, as far as tests must treat it differently. */
export interface Engine {
  name: "docker" | "podman";
  program: string;
  /** Of `run`: the container must not need more of this machine than namespaces. */
  options: string;
  /** Makes it ready on a node that was switched on. */
  begin(node: Node): Promise<void>;
}

/** Where an engine keeps images and containers: on the node's disk, but not in the replicated directory. */
const storage = (node: Node): string => `${node.bed.diskDir}/containers`;

/** Podman, which has no daemon. Its cgroups are the module's: to make others it wants controllers that may not be here. */
export const podman: Engine = {
  name: "podman",
  program: "/usr/bin/podman",
  options: "--cgroups disabled",
  async begin(node) {
    const settings = `[storage]\ndriver = "vfs"\ngraphroot = "${storage(node)}"\nrunroot = "/run/containers/storage"\n`;
    await node.exec(["sh", "-c", "cat > /etc/containers/storage.conf"], { input: settings });
  },
};

/** Docker, with a daemon for each node that touches nothing outside. */
export const docker: Engine = {
  name: "docker",
  program: "/usr/bin/docker",
  options: "",
  async begin(node) {
    const options = [
      ...["--iptables=false", "--ip6tables=false", "--bridge=none", "--userland-proxy=false"],
      ...["--data-root", storage(node), "--exec-root", "/run/docker", "--pidfile", "/run/docker.pid"],
      ...["--storage-driver", "vfs", "--exec-opt", "native.cgroupdriver=cgroupfs"],
    ];
    await node.spawn(["/usr/sbin/dockerd", ...options], { log: `${node.bed.dir}/${node.name}.dockerd.log` });
    const answers = async () =>
      (await node.exec([docker.program, "version"], { mayFail: true })).status === 0;
    await until(`dockerd of ${node.name} answers`, answers, 30_000, 100);
  },
};

/** Why this engine cannot run here, or null: for `t.skip`. */
export function engineImpossible({ name, program }: Engine): string | null {
  const reason = testbedImpossible();
  if (reason !== null) return reason;
  const packages = name === "docker" ? "docker.io" : "podman";
  for (const path of [program, "/bin/busybox"])
    if (!existsSync(path)) return `needs ${path} (apt-get install ${packages} busybox-static)`;
  return null;
}

/** It goes on from the number on the disk; what it tells comes after both disks have it. Without its disk it lives on, as servers do. */
const COUNTER = `trap 'exit 0' TERM
n=$(cat /data/count 2>/dev/null || echo 0)
while :; do
  if echo $((n + 1)) | dd of=/data/count conv=notrunc,fsync 2>/dev/null
  then n=$((n + 1)); echo "$(hostname) $n" >> /told/numbers
  fi
  sleep 0.02
done
`;

/** A mirror whose application is that container. */
export class CountingMirror {
  private constructor(
    readonly engine: Engine,
    readonly mirror: Mirror,
  ) {}

  /** Builds it, and starts it on n1. */
  static async create(engine: Engine): Promise<CountingMirror> {
    const settings = [
      "replicate.paths.0.path=DATA",
      `virtualIps.0.address=${VIRTUAL_IP}/24`,
      `vars.engine=${engine.program}`,
      "vars.image=localhost/counter:1",
      `vars.options=--network host --volume DATA:/data --volume RECORD:/told ${engine.options}`,
      "vars.command=/bin/busybox sh /counter.sh",
      "vars.patience=5",
      "checkers.custom.containers.interval=2s",
    ];
    const mirror = await createMirror({
      files: templateFiles(engine.name, settings),
      prepare: (node) => CountingMirror.prepare(engine, node),
      // Engines and a second test on the same processors: what a server without a witness has.
      heartbeat: "{ interval: 200ms, timeout: 3s }",
    });
    const counting = new CountingMirror(engine, mirror);
    try {
      await mirror.start("60s");
      return counting;
    } catch (error) {
      const said = lastWords(mirror);
      await mirror.bed.destroy();
      throw new Error(`${(error as Error).message}\n${said}`);
    }
  }

  /** The engine and the image; after a power cut too. */
  static async prepare({ begin, program }: Engine, node: Node): Promise<void> {
    await ownSystem(node, ["/etc"]);
    await begin(node);
    const root = "/run/counter-image";
    const build = [
      `mkdir -p ${root}/bin ${root}/data ${root}/told ${root}/proc ${root}/sys ${root}/dev ${root}/etc`,
      `cp /bin/busybox ${root}/bin/ && ${root}/bin/busybox --install ${root}/bin`,
      `cat > ${root}/counter.sh`,
      `tar -C ${root} -c . | ${program} import - localhost/counter:1`,
    ];
    await node.exec(["sh", "-ec", build.join("\n")], { input: COUNTER });
  }

  /** The power is back: the node's engine and daemon. */
  async switchOn(node: Node): Promise<void> {
    await node.powerOn();
    await CountingMirror.prepare(this.engine, node);
    await node.startDaemon();
  }

  /** Numbers that were told, in order, and who told them. */
  told(): { node: string; number: number }[] {
    const file = `${this.mirror.bed.dir}/numbers`;
    if (!existsSync(file)) return [];
    return readFileSync(file, "utf8")
      .split("\n")
      .filter(Boolean)
      .map((line) => ({ node: line.split(" ")[0]!, number: Number(line.split(" ")[1]) }));
  }

  /** Waits until this node counts. Throws when a number that was told had been lost, or another node counted in between. */
  async countsOn(node: Node): Promise<void> {
    const before = this.told().length;
    await until(`${node.name} counts`, () => this.told().length > before + 3, 30_000);
    const told = this.told();
    for (let i = 1; i < told.length; i++)
      if (told[i]!.number <= told[i - 1]!.number)
        throw new Error(`after ${JSON.stringify(told[i - 1])} came ${JSON.stringify(told[i])}`);
    if (told.at(-1)!.node !== node.name) throw new Error(`${told.at(-1)!.node} counts, and not ${node.name}`);
    if (this.counters(node).length === 0) throw new Error(`no process that counts is found on ${node.name}`);
  }

  /** Names and states of all containers that the engine knows on a node. */
  async containers(node: Node): Promise<string[]> {
    const { stdout } = await node.exec([
      this.engine.program,
      "ps",
      "--all",
      "--format",
      "{{.Names}} {{.Status}}",
    ]);
    return stdout.split("\n").filter(Boolean);
  }

  /** The processes that count on a node, as seen from here: in a pid namespace of their own, but in the node's network. */
  counters(node: Node): number[] {
    const network = readlinkSync(`/proc/${node.on.pid}/ns/net`);
    return readdirSync("/proc")
      .filter((entry) => {
        try {
          return (
            readFileSync(`/proc/${entry}/cmdline`, "latin1").startsWith("/bin/busybox\0sh\0/counter.sh") &&
            readlinkSync(`/proc/${entry}/ns/net`) === network
          );
        } catch {
          return false; // No process, or it ended while we looked.
        }
      })
      .map(Number);
  }
}
