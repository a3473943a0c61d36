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
const APPLICATION = `${process.execPath} ${import.meta.dir}/life_writer.ts DATA RECORD $HOLDFAST_NODE`;
const PID_FILE = "/run/holdfast-test-app.pid";

/** The record lies outside the nodes: a power cut does not lose it. */
function hook(name: string, application: string): string {
  const what = name === "transition" ? `${name} $HOLDFAST_FROM $HOLDFAST_TO` : name;
  const work: Record<string, string> = {
    start_prim: `${application} & echo $! > ${PID_FILE}`,
    stop_prim: `kill $(cat ${PID_FILE}); while kill -0 $(cat ${PID_FILE}); do sleep 0.01; done 2>/dev/null`,
  };
  return `#!/bin/bash
force=; [ "$HOLDFAST_FORCE" = 1 ] && force=" force"
echo "${what}$force" >> RECORD/$HOLDFAST_NODE.hooks
${work[name] ?? ""}
exit 0
`;
}

/** What the test wants, beside a mirror. */
export interface LifeOptions extends MirrorOptions {
  /** A command in the place of life_writer.ts. */
  application?: string;
}

/** Every hook, each writing its name down. */
function everyHook(application = APPLICATION): Record<string, string> {
  return Object.fromEntries(HOOKS.split(" ").map((name) => [`hooks/${name}`, hook(name, application)]));
}

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

  #lines(record: string): string[] {
    const file = `${this.mirror.bed.dir}/${record}`;
    return existsSync(file) ? readFileSync(file, "utf8").trimEnd().split("\n") : [];
  }

  /** The hooks that ran on a node since this was last asked, in order: `transition FROM TO`, `stop_prim force`. */
  ran(node: Node): string[] {
    const all = this.#lines(`${node.name}.hooks`);
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

  /** Lines that the application was promised so far, in order. */
  acknowledged(): string[] {
    return this.#lines("acknowledged");
  }

  /** Every line that the application was ever promised is in this node's journal. */
  nothingLost(what: string, node: Node, promised = this.acknowledged()): void {
    const file = node.on.path(`${this.mirror.data}/journal`);
    const there = new Set(readFileSync(file, "utf8").split("\n"));
    const lost = promised.filter((line) => !there.has(line));
    this.t.ok(promised.length > 0, `${what}: ${promised.length} lines were acknowledged`);
    this.t.same(
      lost.slice(0, 5),
      [],
      `${what}: ${lost.length} acknowledged lines are missing on ${node.name}`,
    );
  }

  /** Waits until the application has been promised more than it was. */
  async writesGoOn(what: string, timeoutMs = 10_000): Promise<void> {
    const before = this.acknowledged().length;
    await until(
      `${what}: writes are acknowledged again`,
      () => this.acknowledged().length > before + 20,
      timeoutMs,
    );
  }

  /** `verify` on the primary finds no difference. */
  async verified(what: string, prim: Node): Promise<void> {
    const { status, stdout, stderr } = await prim.holdfast(["verify", "db"], { mayFail: true });
    this.t.equal(status, 0, `${what}: verify finds no difference: ${stdout}${stderr}`);
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

  /** The pid of the application there, or null. */
  application(node: Node): number | null {
    return node.processes().find(({ command }) => command.includes("life_writer.ts"))?.pid ?? null;
  }

  /** Is the application alive there? */
  isAppAlive(node: Node): boolean {
    return this.application(node) !== null;
  }

  /** What a node tells of itself. */
  async status(node: Node): Promise<NodeStatus> {
    const status = (await quickStatus(node)).modules["db"]?.nodes[node.name];
    if (!status) throw new Error(`${node.name} does not know the module`);
    return status;
  }

  /** A resource's state, as its node tells it. */
  async resource(node: Node, name: string): Promise<string | undefined> {
    return (await this.status(node)).resources[name]?.state;
  }

  /** Parted nodes come to these states, each as it tells of itself. */
  async comesToApart(what: string, first: string, second: string): Promise<void> {
    const own = async (node: Node): Promise<string> => {
      const { state, readiness } = await this.status(node);
      return `${state} ${readiness}`;
    };
    const both = (): Promise<string[]> => Promise.all([own(this.n1), own(this.n2)]);
    await until(what, async () => Bun.deepEquals(await both(), [first, second])).catch(() => undefined);
    this.t.same(await both(), [first, second], `${what}: ${first} and ${second}, parted`);
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
export async function createLife(t: Test, options: LifeOptions = {}): Promise<Life> {
  const mirror = await createMirror({
    ...options,
    files: { ...everyHook(options.application), ...options.files },
  });
  t.teardown(() => mirror.bed.destroy());
  return new Life(t, mirror);
}

/** Builds one and makes n1 primary for the first time. */
export async function startLife(t: Test, options: LifeOptions = {}): Promise<Life> {
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
