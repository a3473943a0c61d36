/**
 * A machine of the demo: network, mount, pid and host name of its own, so that its power can be cut.
 *
 * Its process 1 is a shell that ends when its standard input closes: when the demo dies, its machines die too.
 */
import { readFileSync } from "node:fs";
import type { Subprocess } from "bun";

/** What commands in a machine see of the environment. */
const ENVIRONMENT = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  HOME: "/root",
  LANG: "C.UTF-8",
};
const NAMESPACES = ["--net", "--mount", "--pid", "--uts"];

/** Runs a command here; throws with its output when it fails. */
export async function run(...command: string[]): Promise<string> {
  const child = Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [out, err, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (status !== 0) throw new Error(`${command.join(" ")}: ${(err || out).trim()}`);
  return out;
}

/** The first child of a process. nsenter and unshare do what they are for in one. */
function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ")[0]);
}

/** A machine that is on. */
export class Machine {
  private constructor(
    readonly name: string,
    /** Process 1 of the machine, as seen from here. */
    readonly pid: number,
    private readonly outer: Subprocess,
  ) {}

  /** Switches a machine on and plugs it into the bridge. `setup` is shell text that runs first in it. */
  static async boot(name: string, address: string, bridge: string, setup: string): Promise<Machine> {
    const script = [
      "set -e",
      `hostname ${name}`,
      "ip link set lo up",
      // Left on, the kernel's checks for duplicate IPv6 addresses only slow a demo down.
      "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad 2>/dev/null || true",
      setup,
      "set +e",
      "echo ready",
      "read -r _",
    ].join("\n");
    const outer = Bun.spawn(
      [
        "unshare",
        ...NAMESPACES,
        "--mount-proc",
        "--propagation",
        "private",
        "--fork",
        "--kill-child",
        "bash",
        "--norc",
        "-c",
        script,
      ],
      { stdin: "pipe", stdout: "pipe", stderr: "pipe", env: ENVIRONMENT, cwd: "/" },
    );
    const first = await outer.stdout.getReader().read();
    if (first.done)
      throw new Error(`machine ${name} did not start: ${(await new Response(outer.stderr).text()).trim()}`);
    const pid = childOf(outer.pid);
    const machine = new Machine(name, pid, outer);
    await run(
      "ip",
      "link",
      "add",
      "name",
      `port-${name}`,
      "type",
      "veth",
      "peer",
      "name",
      "lan0",
      "netns",
      String(pid),
    );
    await run("ip", "link", "set", `port-${name}`, "master", bridge, "up");
    await machine.exec(["ip", "address", "add", `${address}/24`, "dev", "lan0"]);
    await machine.exec(["ip", "link", "set", "lan0", "up"]);
    return machine;
  }

  /** The command line that runs `command` in this machine. */
  inside(command: readonly string[]): string[] {
    return ["nsenter", "--target", String(this.pid), ...NAMESPACES, "--wdns=/", "--", ...command];
  }

  /** Starts a command in this machine. */
  spawn(
    command: readonly string[],
    output: "pipe" | number,
  ): Subprocess<"ignore", "pipe" | number, "pipe" | number> {
    return Bun.spawn(this.inside(command), {
      stdin: "ignore",
      stdout: output,
      stderr: output,
      env: ENVIRONMENT,
      cwd: "/",
    });
  }

  /** Ends what `spawn` started: the command itself, not only the nsenter that waits for it. */
  async end(spawned: Subprocess): Promise<void> {
    process.kill(childOf(spawned.pid), "SIGKILL");
    await spawned.exited;
  }

  /** Runs a command in this machine; returns its output, throws with it when it fails. */
  async exec(command: readonly string[]): Promise<string> {
    return await run(...this.inside(command));
  }

  /** The power goes: the link is down, and every process of the machine is gone without a word. */
  async cutPower(): Promise<void> {
    await run("ip", "link", "set", `port-${this.name}`, "down");
    process.kill(this.pid, "SIGKILL");
    await this.outer.exited;
    // The kernel takes its time to bury a network namespace with its end of the cable.
    await run("ip", "link", "delete", `port-${this.name}`);
  }
}
