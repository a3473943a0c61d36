/** A member of a real etcd, on a machine of a testbed. */
import { type Host, type MachineProcess, type Testbed, until } from "./testbed.ts";

/** One member of etcd on a host. */
export class Etcd {
  process: MachineProcess | null = null;
  readonly dir: string;
  readonly url: string;
  readonly peerUrl: string;

  constructor(
    private readonly bed: Testbed,
    private readonly host: Host,
    readonly name: string,
    number: number,
    scheme = "http",
  ) {
    const address = host.addresses["lan"]!;
    this.dir = `${bed.dir}/etcd-${name}`;
    this.url = `${scheme}://${address}:${2379 + 10 * number}`;
    this.peerUrl = `http://${address}:${2380 + 10 * number}`;
  }

  /** Starts it; `answers` waits until it serves. */
  async start(members: readonly Etcd[] = [this], options: readonly string[] = []): Promise<void> {
    const cluster = members.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(",");
    this.process = await this.host.spawn(
      [
        "etcd",
        ...["--name", this.name, "--data-dir", this.dir],
        ...["--listen-client-urls", this.url, "--advertise-client-urls", this.url],
        ...["--listen-peer-urls", this.peerUrl, "--initial-advertise-peer-urls", this.peerUrl],
        ...["--initial-cluster", cluster, "--heartbeat-interval", "50", "--election-timeout", "300"],
        ...options,
      ],
      { log: `${this.bed.dir}/etcd-${this.name}.log` },
    );
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    this.process!.signal("SIGKILL");
    await this.process!.exited;
  }

  /** Runs etcdctl's part of the work: Debian's etcd-server has no client. */
  async post(path: string, body: object, token?: string): Promise<string> {
    const authorization = token === undefined ? [] : ["-H", `authorization: ${token}`];
    const { stdout } = await this.host.exec(
      ["curl", "-s", "-m", "5", ...authorization, "-d", JSON.stringify(body), `${this.url}${path}`],
      { mayFail: true },
    );
    return stdout;
  }

  /** Waits until it serves. */
  async answers(): Promise<void> {
    await until(`etcd ${this.name} answers`, async () =>
      /"leader":"\d+"/.test(await this.post("/v3/maintenance/status", {})),
    );
  }
}
