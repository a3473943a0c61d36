/**
 * Two real nodes, their witness and a client, to which a schedule happens: each fault strikes at its time, ends at its time, and leaves the machines as it found them.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { localApi } from "../../core/api/api.ts";
import type { NodeStatus, StatusDocument } from "../../core/daemon/engine.ts";
import { CLOCK_BOOTTIME } from "../../core/platform/linux/constants.ts";
import { clock } from "../../core/platform/linux/libc.ts";
import { createMirror, type Mirror, VIRTUAL_IP } from "../cluster/mirror.ts";
import { type Host, type Node, until } from "../cluster/testbed.ts";
import { compareDirectories, verifyEqual } from "./power_cuts.ts";
import { type Evidence, nodeOf, readAnswers, readFrames, readReigns, readWrites } from "./witness_judge.ts";
import {
  AHEAD_MS,
  type Fault,
  kindOf,
  type Link,
  type Party,
  type Role,
  type Schedule,
} from "./witness_schedule.ts";

const PORT = "7788";
const PID_FILE = "/run/witness-server.pid";
/** How long the cluster may take to come back once everything is whole, ms: on a machine that does much else. */
const COMES_BACK_MS = 120_000;
/** So long both must stay what they are, ms. */
const STABLE_MS = 1500;
const COMMAND_MS = 60_000;
const STATUS_MS = 5000;

const program = (name: string): string => `${process.execPath} ${import.meta.dir}/${name}`;

const HOOKS: Record<string, string> = {
  "hooks/start_prim": `#!/bin/bash
${program("witness_server.ts")} DATA/journal RECORD $HOLDFAST_NODE ${VIRTUAL_IP} ${PORT} >> RECORD/$HOLDFAST_NODE.server 2>&1 &
echo $! > ${PID_FILE}
`,
  "hooks/stop_prim": `#!/bin/bash
kill $(cat ${PID_FILE}); while kill -0 $(cat ${PID_FILE}); do sleep 0.01; done 2>/dev/null
exit 0
`,
  "hooks/transition": `#!/bin/bash
read -r up _ < /proc/uptime
echo "$up $HOLDFAST_NODE $HOLDFAST_FROM $HOLDFAST_TO" >> RECORD/transitions
`,
};

/** See the top of the file. */
export class WitnessCluster {
  /** What struck, and what could not, in words. */
  readonly struck = new Set<Fault>();
  readonly story: string[] = [];
  readonly #began = performance.now();
  readonly #cuts = new Set<readonly { from: Host; to: Host; lan?: string }[]>();
  /** The network is changed by one fault at a time. */
  #network: Promise<void> = Promise.resolve();
  /** Machines to which something is happening: one thing at a time. */
  readonly #busy = new Set<Host>();

  private constructor(readonly mirror: Mirror) {}

  /** Builds them; both serve, and the client is answered. Dispose of `mirror.bed` afterwards. */
  static async build({ witness, timeoutMs }: Schedule): Promise<WitnessCluster> {
    const heartbeat = `{ interval: 200ms, timeout: ${timeoutMs}ms }`;
    const mirror = await createMirror({ witness, heartbeat, files: HOOKS, diskMiB: 256 });
    const cluster = new WitnessCluster(mirror);
    try {
      await cluster.#listen();
      await mirror.start("60s");
      const { host, bed } = mirror;
      const client = [process.execPath, join(import.meta.dir, "witness_client.ts")];
      await host.spawn([...client, `${bed.dir}/client`, `${bed.dir}/quiet`, VIRTUAL_IP, PORT], {
        log: `${bed.dir}/client.log`,
      });
      await cluster.answersCome();
      return cluster;
    } catch (error) {
      await mirror.bed.destroy();
      throw error;
    }
  }

  /** Takes down every frame from the virtual address where it leaves a node, in the namespace of the bridges, with the kernel's own time. */
  async #listen(): Promise<void> {
    const { pid, dir } = this.mirror.bed;
    const enter = ["nsenter", "--target", `${pid}`, "--net", "--pid", "--mount", "--"];
    const bytes = VIRTUAL_IP.split(".").map((byte) => Number(byte).toString(16).padStart(2, "0"));
    const from = `(ip src host ${VIRTUAL_IP}) or (arp and arp[14:4] = 0x${bytes.join("")})`;
    Bun.spawn([...enter, "tcpdump", "-Z", "root", "-i", "any", "-Q", "in", "-nn", "-tt", "-e", "-l", from], {
      stdin: "ignore",
      stdout: Bun.file(`${dir}/frames`),
      stderr: Bun.file(`${dir}/frames.log`),
    });
    await until("tcpdump listens", () => this.#text("frames.log").includes("listening on any"));
  }

  #text(name: string): string {
    try {
      return readFileSync(`${this.mirror.bed.dir}/${name}`, "utf8");
    } catch {
      return "";
    }
  }

  /** Waits until the client was acknowledged more. */
  async answersCome(): Promise<void> {
    const count = (): number => readAnswers(this.#text("client")).length;
    const before = count();
    await until("the client is answered", () => count() >= before + 5, 60_000, 100);
  }

  /** A line of the story, with its time in the schedule. */
  #tell(text: string): void {
    this.story.push(`${((performance.now() - this.#began) / 1000).toFixed(1).padStart(6)} s  ${text}`);
  }

  /** Who acknowledged last is prim; the node that never did is second. */
  #node(role: Role): Node {
    const { n1, n2 } = this.mirror;
    const last = readWrites(this.#text("acknowledged").trimEnd().split("\n").at(-1) ?? "").at(-1);
    const prim = last !== undefined && nodeOf(last.name) === n2.name ? n2 : n1;
    return (prim === n1) === (role === "prim") ? n1 : n2;
  }

  #party(party: Party): Host {
    return party === "witness" ? this.mirror.bed.hosts[1]! : this.#node(party);
  }

  /** Lets all of it happen; returns when everything is whole again. */
  async suffers(schedule: Schedule): Promise<void> {
    this.struck.clear();
    this.#tell(`round ${schedule.round}`);
    rmSync(`${this.mirror.bed.dir}/quiet`, { force: true });
    await this.answersCome();
    await Promise.all(
      schedule.faults.map(async (fault) => {
        await Bun.sleep(fault.at);
        await this.#strike(fault);
      }),
    );
    this.#tell("everything is whole again");
  }

  async #strike(fault: Fault): Promise<void> {
    switch (fault.do) {
      case "links":
        await this.#cut(fault, this.#directions(fault.cut));
        return;
      case "client": {
        const { host, n1, n2 } = this.mirror;
        await this.#cut(
          fault,
          [n1, n2].flatMap((node) => [
            { from: host, to: node },
            { from: node, to: host },
          ]),
        );
        return;
      }
      case "witness":
        await this.#witness(fault);
        return;
      case "frozen": {
        const node = this.#node(fault.who);
        await this.#alone(fault, node, () => this.#freeze(node, fault));
        return;
      }
      case "power":
        await this.#power(fault);
        return;
      case "stop": {
        const node = this.#node(fault.who);
        await this.#alone(fault, node, async () => {
          await this.#command(node, "stop");
          await Bun.sleep(fault.ms);
          await this.#command(node, "start");
        });
        return;
      }
      case "swap": {
        const node = this.#node("prim");
        await this.#alone(fault, node, () => this.#command(node, "swap"));
      }
    }
  }

  /** Something happens to a machine, unless something else already does. */
  async #alone(fault: Fault, machine: Host, work: () => Promise<void>): Promise<void> {
    if (this.#busy.has(machine)) {
      this.#tell(`${kindOf(fault)}: not now, ${machine.name} is in trouble already`);
      return;
    }
    this.#busy.add(machine);
    this.struck.add(fault);
    this.#tell(`${kindOf(fault)}: ${machine.name}, for ${fault.ms} ms`);
    await work();
    this.#busy.delete(machine);
    this.#tell(`${kindOf(fault)}: ${machine.name} is itself again`);
  }

  #directions(cut: readonly Link[]): { from: Host; to: Host; lan?: string }[] {
    return cut.map(({ from, to, lan }) => ({
      from: this.#party(from),
      to: this.#party(to),
      ...(lan === undefined ? {} : { lan }),
    }));
  }

  async #cut(fault: Fault, links: readonly { from: Host; to: Host; lan?: string }[]): Promise<void> {
    const words = links.map(({ from, to, lan }) => `${from.name}→${to.name}${lan ? ` (${lan})` : ""}`);
    this.struck.add(fault);
    this.#tell(`${kindOf(fault)}: ${words.join(", ")}, for ${fault.ms} ms`);
    this.#cuts.add(links);
    await this.#sever();
    await Bun.sleep(fault.ms);
    this.#cuts.delete(links);
    await this.#sever();
    this.#tell(`${kindOf(fault)}: healed`);
  }

  #sever(): Promise<void> {
    this.#network = this.#network.then(() => this.mirror.bed.sever([...this.#cuts].flat()));
    return this.#network;
  }

  async #witness(fault: Extract<Fault, { do: "witness" }>): Promise<void> {
    const witness = this.mirror.witness!;
    await this.#alone(fault, witness.host, async () => {
      if (fault.how === "frozen") witness.signal("SIGSTOP");
      else await witness.kill();
      await Bun.sleep(fault.ms);
      if (fault.how === "emptied") witness.forget();
      if (fault.how === "frozen") witness.signal("SIGCONT");
      else await witness.start();
    });
  }

  async #freeze(node: Node, { ms, what, thaw }: Extract<Fault, { do: "frozen" }>): Promise<void> {
    const isDaemon = (command: string): boolean => command.split(" ")[1] === "daemon";
    const frozen = new Map<number, string>();
    // Until no process is left that was born while the others were stopped.
    for (let before = -1; before < frozen.size; ) {
      before = frozen.size;
      for (const { pid, command } of node.processes())
        if (what === "everything" || isDaemon(command)) {
          node.signal(pid, "SIGSTOP");
          frozen.set(pid, command);
        }
    }
    await Bun.sleep(ms);
    const first = (command: string): boolean =>
      command.includes("witness_server.ts") ||
      (thaw === "application and replication first" && command.includes("__replication"));
    if (what === "everything" && thaw !== "all at once") {
      for (const [pid, command] of frozen) if (first(command)) node.signal(pid, "SIGCONT");
      await Bun.sleep(AHEAD_MS);
    }
    for (const pid of frozen.keys()) node.signal(pid, "SIGCONT");
  }

  async #power(fault: Extract<Fault, { do: "power" }>): Promise<void> {
    const prim = this.#node("prim");
    const second = this.#node("second");
    const off = (node: Node): Promise<void> =>
      this.#alone(fault, node, async () => {
        await node.powerCut();
        await Bun.sleep(fault.ms);
        await node.powerOn();
        await node.startDaemon();
      });
    if (fault.who === "prim") await off(prim);
    else if (fault.who === "second") await off(second);
    else await Promise.all([off(prim), Bun.sleep(fault.apartMs).then(() => off(second))]);
  }

  /** It may fail, and say so: what counts is what the cluster makes of it. */
  async #command(node: Node, ...words: string[]): Promise<void> {
    const { status, stderr } = await node.holdfast([...words, "db"], {
      mayFail: true,
      timeoutMs: COMMAND_MS,
    });
    if (status !== 0) this.#tell(`${node.name}: ${words.join(" ")}: status ${status}: ${stderr.trim()}`);
  }

  /** As the node tells it of itself; undefined while it does not. */
  async #status(node: Node): Promise<NodeStatus | undefined> {
    try {
      const api = localApi(node.on.path(node.varDir));
      const patience = AbortSignal.timeout(STATUS_MS);
      const { body } = await api.call("GET", "/status", undefined, {}, patience);
      return (body as StatusDocument).modules["db"]?.nodes[node.name];
    } catch {
      return undefined;
    }
  }

  /** Waits for a PRIM and a SECOND that stay, and for answers to the client. Returns how long the first took, ms, and who is PRIM. Throws. */
  async comesBack(): Promise<{ ms: number; prim: Node }> {
    const { n1, n2 } = this.mirror;
    const began = performance.now();
    let told = "";
    let since = performance.now();
    const look = async (): Promise<Node | null> => {
      const both = await Promise.all([n1, n2].map((node) => this.#status(node)));
      const states = both.map((status) => `${status?.state} ${status?.readiness}`).join(", ");
      if (states !== told) since = performance.now();
      told = states;
      const prim =
        states === "PRIM Ready, SECOND Ready" ? n1 : states === "SECOND Ready, PRIM Ready" ? n2 : null;
      return performance.now() - since >= STABLE_MS ? prim : null;
    };
    const prim = await until("PRIM and SECOND are back", look, COMES_BACK_MS, 200).catch(
      async (error: Error) => {
        const both = await Promise.all([n1, n2].map((node) => this.#status(node)));
        const words = both.map((status) => `${status?.state}: ${status?.reason} (remedy: ${status?.remedy})`);
        throw new Error(`${error.message}: ${words.join("; ")}`);
      },
    );
    const ms = since - began;
    await this.answersCome();
    return { ms, prim };
  }

  /** Nothing is written any more; compares the copies, and returns all that is to be judged. Throws when they differ. */
  async evidence(prim: Node): Promise<Evidence> {
    const { mirror } = this;
    writeFileSync(`${mirror.bed.dir}/quiet`, "");
    let size = -1;
    await until(
      "the servers are quiet",
      () => {
        const before = size;
        size = this.#text("acknowledged").length;
        return size === before;
      },
      30_000,
      1000,
    );
    await compareDirectories(mirror);
    await verifyEqual(prim);
    const journal = (node: Node): string => readFileSync(node.on.path(`${mirror.data}/journal`), "utf8");
    const sinceEpoch = clock(0) - clock(CLOCK_BOOTTIME);
    return {
      writes: readWrites(this.#text("acknowledged")),
      answers: readAnswers(this.#text("client")),
      reigns: readReigns(this.#text("transitions")),
      frames: readFrames(this.#text("frames"), sinceEpoch),
      journals: { n1: journal(mirror.n1), n2: journal(mirror.n2) },
    };
  }

  /** The nodes' own logs of the module, by node. */
  logs(): Record<string, string> {
    return Object.fromEntries(
      [this.mirror.n1, this.mirror.n2].map((node) => {
        try {
          return [node.name, readFileSync(node.on.path(`${node.varDir}/log/db/module.log`), "utf8")];
        } catch (error) {
          return [node.name, (error as Error).message];
        }
      }),
    );
  }
}
