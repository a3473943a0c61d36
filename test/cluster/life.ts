/**
 * What the tests of a mirror's life have in common: hooks that write down that they ran, and one question about everything that can
 * be seen from outside: states as both nodes tell them, who answers for the address, and whom a client's ARP table knows.
 */
import { existsSync, readFileSync } from "node:fs";
import type { Test } from "tap";
import { localApi } from "../../core/api/api.ts";
import type { NodeStatus, StatusDocument } from "../../core/daemon/engine.ts";
import { createMirror, type Mirror, type MirrorOptions, VIRTUAL_IP } from "./mirror.ts";
import { type Node, testbedImpossible, until } from "./testbed.ts";

/** For `t.test`: skips where real nodes cannot be built. */
export const onRealNodes = { skip: testbedImpossible() ?? false };

const HOOKS =
  "prestart start_prim stop_prim start_second stop_second start_both stop_both poststop transition";

/** The record lies outside the nodes: a power cut does not lose it. */
function hook(name: string): string {
  const what = name === "transition" ? `${name} $HOLDFAST_FROM $HOLDFAST_TO` : name;
  const run = { start_prim: "sleep 100000 &", stop_prim: "kill $(cat /run/holdfast-test-app.pid) || true" }[
    name
  ];
  return [
    "#!/bin/bash",
    `force=; [ "$HOLDFAST_FORCE" = 1 ] && force=" force"`,
    `echo "${what}$force" >> RECORD/$HOLDFAST_NODE.hooks`,
    ...(name === "start_prim" ? [`${run}`, "echo $! > /run/holdfast-test-app.pid"] : run ? [run] : []),
    "exit 0",
    "",
  ].join("\n");
}

/** Every hook, each writing its name down; the application is a process that sleeps. */
export const everyHook: Record<string, string> = Object.fromEntries(
  HOOKS.split(" ").map((name) => [`hooks/${name}`, hook(name)]),
);

/** A mirror whose hooks are recorded. */
export class Life {
  readonly #seen = new Map<Node, number>();
  constructor(
    readonly t: Test,
    readonly mirror: Mirror,
  ) {}

  get n1(): Node {
    return this.mirror.n1;
  }
  get n2(): Node {
    return this.mirror.n2;
  }

  #hooks(node: Node): string[] {
    const file = `${this.mirror.bed.dir}/${node.name}.hooks`;
    return existsSync(file) ? readFileSync(file, "utf8").trimEnd().split("\n") : [];
  }

  /** The hooks that ran on a node since this was last asked, in order: `transition FROM TO`, `stop_prim force`. */
  ran(node: Node): string[] {
    const all = this.#hooks(node);
    const before = this.#seen.get(node) ?? 0;
    this.#seen.set(node, all.length);
    return all.slice(before);
  }

  /** Exactly these hooks ran since the last check, in this order. */
  hooks(what: string, first: readonly string[], second: readonly string[]): void {
    this.t.same([this.ran(this.n1), this.ran(this.n2)], [first, second], `${what}: hooks in order`);
  }

  /** Both nodes come to these states (as each of them tells it), and this node alone answers for the virtual IP. */
  async comesTo(
    what: string,
    first: string,
    second: string,
    holder: Node | null,
    timeoutMs = 20_000,
  ): Promise<void> {
    const { t, mirror } = this;
    const wanted = { n1: first, n2: second };
    const told = async (node: Node, ask: (node: Node) => Promise<StatusDocument>): Promise<Told> => {
      if (wanted[node.name as "n1" | "n2"] === "off") return wanted;
      const nodes = Object.entries((await ask(node)).modules["db"]?.nodes ?? {});
      return Object.fromEntries(
        nodes.map(([name, status]) => [name, said(status, wanted[name as "n1" | "n2"])]),
      );
    };
    const both = (ask: (node: Node) => Promise<StatusDocument>): Promise<Told[]> =>
      Promise.all([told(this.n1, ask), told(this.n2, ask)]);
    const equal = async (): Promise<boolean> => Bun.deepEquals(await both(quickStatus), [wanted, wanted]);
    await until(`${what}: ${first}, ${second}`, equal, timeoutMs, 50).catch(() => undefined);
    const status = await both((node) => node.json(["status"]));
    t.same(status, [wanted, wanted], `${what}: ${first} and ${second}, as each node tells it`);
    const answers = holder ? [holder.name] : [];
    t.same(
      await mirror.whoAnswers(),
      answers,
      `${what}: ${holder?.name ?? "nobody"} answers for the address`,
    );
    if (!holder) return;
    t.ok(await mirror.host.pings(VIRTUAL_IP), `${what}: the address answers a ping`);
    t.equal(
      (await mirror.host.arpTable())[VIRTUAL_IP],
      holder.mac("lan"),
      `${what}: the third host's ARP table`,
    );
  }

  /** Whom the third host's ARP table names, without asking anybody. */
  async inArpTable(): Promise<string | undefined> {
    const mac = (await this.mirror.host.arpTable())[VIRTUAL_IP];
    return mac === undefined ? undefined : this.mirror.bed.nameOfMac(mac);
  }

  /** A new daemon on a node that was off, or whose daemon ended. */
  async boot(node: Node): Promise<void> {
    await node.powerOn();
    await node.startDaemon();
  }

  /** Our processes on a node, by command line. */
  ours(node: Node): { pid: number; command: string }[] {
    return node.processes().filter(({ command }) => command.startsWith(this.mirror.bed.binary));
  }

  /** Our process with this word behind the binary: `daemon`, `__guardian`, `__replication`. */
  pidOf(node: Node, word: string): number {
    const found = this.ours(node).find(({ command }) => command.split(" ")[1] === word);
    if (!found) throw new Error(`${node.name} runs no "${word}"`);
    return found.pid;
  }

  /** Is the application alive there? */
  isAppAlive(node: Node): boolean {
    return node.processes().some(({ command }) => command.startsWith("sleep 100000"));
  }
}

/** A node's states by node, as one of them tells them. */
type Told = Record<string, string>;

/** A node that is off is UNKNOWN to the other; readiness counts where the test names it. */
function said({ state, readiness }: NodeStatus, wanted: string): string {
  if (wanted === "off") return state === "UNKNOWN" ? wanted : state;
  return wanted.includes(" ") ? `${state} ${readiness}` : state;
}

/** `status` without a process for each question. */
async function quickStatus(node: Node): Promise<StatusDocument> {
  return (await localApi(node.on.path(node.varDir)).call("GET", "/status")).body as StatusDocument;
}

/** Builds a mirror whose hooks are recorded, stopped; destroyed with the test. */
export async function createLife(t: Test, options: MirrorOptions = {}): Promise<Life> {
  if (process.env["LIFE_PLAIN"] === "1") options = { ...options, replicate: false };
  const mirror = await createMirror({ ...options, files: { ...everyHook, ...options.files } });
  t.teardown(() => mirror.bed.destroy());
  return new Life(t, mirror);
}

/** Builds one and makes n1 primary for the first time. */
export async function startLife(t: Test, options: MirrorOptions = {}): Promise<Life> {
  const life = await createLife(t, options);
  await life.mirror.start();
  await life.comesTo("started", "PRIM Ready", "SECOND Ready", life.n1);
  life.ran(life.n1);
  life.ran(life.n2);
  return life;
}

/** What runs on the way from STOP to each role and back, in the order of the scripts' table. */
export const SCRIPTS = {
  start: ["transition STOP WAIT", "prestart"],
  toAlone: ["transition WAIT ALONE", "start_both", "start_prim"],
  toSecond: ["transition WAIT SECOND", "start_both", "start_second"],
  joined: ["transition ALONE PRIM"],
  left: ["transition PRIM ALONE"],
  takeover: ["stop_second", "transition SECOND ALONE", "start_prim"],
  stopPrim: ["stop_prim", "stop_both", "transition PRIM WAIT"],
  stopAlone: ["stop_prim", "stop_both", "transition ALONE WAIT"],
  stopSecond: ["stop_second", "stop_both", "transition SECOND WAIT"],
  stopped: ["poststop", "transition WAIT STOP"],
  swapOut: ["stop_prim", "transition PRIM SECOND", "start_second"],
  swapIn: ["stop_second", "transition SECOND PRIM", "start_prim"],
} as const;
