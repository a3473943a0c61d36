/**
 * A node in the hands of the real systemd, which sees the mounts of replicated directories as units of its own: at a shutdown it must not take
 * one before its module has stopped, or the application writes to the directory below and is told that all is well.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { createTestbed, type Node, until } from "./testbed.ts";
import { Systemd, systemdImpossible } from "./testbed_systemd.ts";

t.setTimeout(400_000);
const skip = systemdImpossible() ?? false;
const SERVICE = "holdfast.service";
/** How a shell shows that SIGINT ended a process: so does a namespace that is switched off. See pid_namespaces(7). */
const SWITCHED_OFF = 128 + 2;
const ROUNDS = 5;

/** `stop_prim` waits until the test has seen what systemd does to a mount that nobody uses, then lets the application go on for some rounds. */
const HOOKS: Readonly<Record<string, string>> = {
  start_prim: `${process.execPath} ${import.meta.dir}/systemd_writer.ts DATA RECORD & echo $! > RECORD/pid`,
  stop_prim: `while [ -e RECORD/quiet ]; do sleep 0.01; done
wanted=$(($(wc -l < RECORD/acknowledged) + ${ROUNDS}))
while [ $(wc -l < RECORD/acknowledged) -lt $wanted ] && [ ! -e RECORD/failed ]; do sleep 0.01; done
kill $(cat RECORD/pid); while kill -0 $(cat RECORD/pid); do sleep 0.01; done 2>/dev/null`,
};

/** Two nodes and a module; the primary is run by systemd. */
class Lab {
  private constructor(
    readonly t: Test,
    readonly n1: Node,
    readonly n2: Node,
    readonly systemd: Systemd,
    /** What hooks and application write down, outside the nodes. */
    readonly record: string,
  ) {}

  static async start(t: Test): Promise<Lab> {
    const bed = await createTestbed({ hosts: 0, diskMiB: 256 });
    t.teardown(() => bed.destroy());
    const [n1, n2] = [bed.node(1), bed.node(2)];
    const log = `[Service]\nStandardOutput=append:${n1.daemonLog}\nStandardError=append:${n1.daemonLog}\n`;
    const systemd = await Systemd.boot(n1, { [`/etc/systemd/system/${SERVICE}.d/log.conf`]: log });
    const record = join(bed.dir, "record");
    mkdirSync(record);
    const lab = new Lab(t, n1, n2, systemd, record);
    // What is typed next finds the daemon.
    await lab.holdfast("service", "install");
    await lab.#createCluster();
    await lab.#createModule();
    await lab.holdfast("start", "db", "--all");
    await lab.holdfast("prim", "db");
    await lab.runs();
    return lab;
  }

  /** The replicated directory, the same on both nodes. */
  get data(): string {
    return `${this.n1.dataDir}/db`;
  }

  /** Runs `holdfast ARGS --var VAR` on n1, as an administrator does who is logged in; returns what it prints. */
  holdfast(...args: string[]): Promise<string> {
    return this.systemd.exec([this.n1.bed.binary, ...args, "--var", this.n1.varDir]);
  }

  async #createCluster(): Promise<void> {
    const file = join(this.n1.bed.dir, "cluster.yaml");
    const place = (number: number): string =>
      `{ addresses: { lan: 10.77.0.${number}, repl: 10.78.0.${number} } }`;
    writeFileSync(file, `name: test\nnodes:\n  n1: ${place(1)}\n  n2: ${place(2)}\n`);
    await this.holdfast("cluster", "create", file, "--as", "n1");
    const { token } = JSON.parse(await this.holdfast("cluster", "token", "--json")) as { token: string };
    await this.n2.holdfast(["cluster", "join", token, "--as", "n2"]);
    await this.n2.startDaemon();
  }

  async #createModule(): Promise<void> {
    const module = join(this.n1.bed.dir, "db");
    mkdirSync(join(module, "hooks"), { recursive: true });
    const fill = (text: string): string =>
      text.replaceAll("DATA", this.data).replaceAll("RECORD", this.record);
    writeFileSync(
      join(module, "module.yaml"),
      fill("kind: mirror\nreplicate:\n  paths:\n    - path: DATA\n"),
    );
    for (const [name, work] of Object.entries(HOOKS)) {
      const onFirst = `[ $HOLDFAST_NODE = n1 ] || exit 0\n${work}`;
      const text = fill(`#!/bin/bash\necho ${name} >> RECORD/$HOLDFAST_NODE.hooks\n${onFirst}\n`);
      writeFileSync(join(module, "hooks", name), text, { mode: 0o755 });
    }
    for (const node of [this.n1, this.n2]) await node.exec(["mkdir", "-p", this.data]);
    const apply = (): Promise<boolean> =>
      this.holdfast("module", "apply", "db", "--from", module).then(
        () => true,
        () => false,
      );
    await until("n1 and n2 hear each other", apply);
  }

  /** Both nodes are where they belong, and the application writes. */
  async runs(): Promise<void> {
    await this.holdfast("wait", "db", "PRIM", "--timeout", "30s");
    await this.n2.holdfast(["wait", "db", "SECOND", "--timeout", "30s"]);
    const before = this.lines("acknowledged").length;
    await until("the application writes", () => this.lines("acknowledged").length > before + ROUNDS);
  }

  /** Lines of a record. */
  lines(name: string): string[] {
    const file = join(this.record, name);
    return existsSync(file) ? readFileSync(file, "utf8").split("\n").filter(Boolean) : [];
  }

  /** How systemd's log calls the mount's unit. */
  mountUnit(): Promise<string> {
    return this.systemd
      .exec(["systemd-escape", "--path", "--suffix=mount", this.data])
      .then((name) => name.trim());
  }

  /** Switches the machine off while the application is idle; it goes on when systemd has said `sign`. */
  async powerOff(sign: string): Promise<void> {
    const quiet = join(this.record, "quiet");
    writeFileSync(quiet, "");
    await until("the application is idle", () => existsSync(join(this.record, "idle")));
    await this.systemd.exec(["systemctl", "poweroff"]);
    try {
      await until(`systemd says "${sign}"`, () => this.systemd.log.includes(sign));
      // What it does to the mount beside, it does now.
      await Bun.sleep(500);
    } finally {
      rmSync(quiet);
    }
    this.t.equal(await this.systemd.isOff(), SWITCHED_OFF, "systemd switched the machine off");
  }

  /** The module stopped in good order, and no line that the application was promised is missing on either node. */
  async endedWell(): Promise<void> {
    const { t, n1, n2 } = this;
    t.same(this.lines("bare"), [], "the application never saw the directory below the mount");
    t.same(this.lines("failed"), [], "nor any error");
    t.same(this.lines("n1.hooks"), ["start_prim", "stop_prim"], "its stop hook ran, once");
    // The replicated directory is mounted in systemd's namespaces only, and they are gone: this is what lies on the disk.
    t.ok(existsSync(n1.on.path(`${this.data}/.holdfast/stopped`)), "the copy was left at its stop point");
    const daemon = readFileSync(n1.daemonLog, "utf8");
    t.match(daemon, /stopping the modules of this node/, "the daemon was asked to stop");
    await n2.holdfast(["wait", "db", "ALONE", "--timeout", "30s"]);
    const promised = this.lines("acknowledged");
    t.ok(promised.length > 2 * ROUNDS, `${promised.length} lines were promised`);
    for (const node of [n1, n2]) {
      const there = readFileSync(node.on.path(`${this.data}/journal`), "utf8").split("\n");
      t.same(
        promised.filter((line) => !there.includes(line)),
        [],
        `all of them are on ${node.name}`,
      );
    }
    if (!t.passing()) t.comment(`${this.systemd.log}\n${daemon}`);
  }
}

t.test(
  "traps 23 and 31c: a machine that goes down stops its modules before systemd touches their mounts",
  { skip },
  async (t) => {
    const lab = await Lab.start(t);
    const { systemd } = lab;
    const mount = await lab.mountUnit();
    t.equal(await systemd.show(mount, "ActiveState"), "active", "systemd sees the mount as a unit");

    await t.test("trap 35: a daemon that is killed is back, and what it started went on", async (t) => {
      const application = lab.lines("pid");
      await systemd.exec(["kill", "-9", await systemd.show(SERVICE, "MainPID")]);
      const restarts = async (): Promise<boolean> => (await systemd.show(SERVICE, "NRestarts")) === "1";
      await until("systemd has started another", restarts);
      await until("it answers", () =>
        lab.runs().then(
          () => true,
          () => false,
        ),
      );
      t.same(lab.lines("n1.hooks"), ["start_prim"], "no hook ran");
      await systemd.exec(["kill", "-0", ...application]);
    });

    await lab.powerOff(`Stopping ${SERVICE}`);
    await lab.endedWell();
    const said = systemd.log;
    t.notOk(said.includes(`Unmounting ${mount}`), "systemd did not even try to unmount it");
    t.ok(said.includes(`Unmounted ${mount}`), "it saw that the module did");
  },
);

t.test(
  "trap 31c: where nothing orders them, systemd finds the mount of an idle application busy",
  { skip },
  async (t) => {
    const lab = await Lab.start(t);
    const mount = await lab.mountUnit();
    // As when an administrator stops the unit of any disk that fstab requires: the target that stood between us and the mount is not there.
    await lab.systemd.exec(["systemctl", "stop", "local-fs.target"]);
    await lab.powerOff(`Unmounting ${mount}`);
    t.match(lab.systemd.log, `Failed unmounting ${mount}`, "it tried to unmount");
    await lab.endedWell();
  },
);
