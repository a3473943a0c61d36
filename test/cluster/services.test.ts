/**
 * `services:` in the hands of the real systemd: started and stopped in order around the hooks, kept from starting otherwise, fenced with the
 * module, and given back as they were.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { NodeStatus, StatusDocument } from "../../core/daemon/engine.ts";
import { createTestbed, type Node, until } from "./testbed.ts";
import { Systemd, systemdImpossible } from "./testbed_systemd.ts";

t.setTimeout(400_000);
const skip = systemdImpossible() ?? false;
const DROP_IN = "50-holdfast-web.conf";

/** Each says when it starts and when it has stopped. `app` has its own `Restart=`, `deaf` does not mind SIGTERM, `broken` does not start; `helper` runs in a cgroup of its own within the unit's. */
const UNITS: Readonly<Record<string, string>> = {
  db: "ExecStart=/bin/sleep 100001",
  app: "ExecStart=/bin/sleep 100002\nRestart=always\nRestartSec=50ms",
  deaf: `ExecStart=/bin/sh -c 'trap "" TERM; while :; do sleep 0.1; done'\nTimeoutStopSec=infinity`,
  helper: `Delegate=yes\nExecStart=/bin/sh -c 'cd /sys/fs/cgroup/system.slice/helper.service && mkdir -p inner && echo 0 > inner/cgroup.procs && exec sleep 100003'`,
  broken: "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/false",
};

function unitText(name: string, lines: string, record: string): string {
  const say = (what: string): string => `/bin/sh -c 'echo ${what} ${name} >> ${record}'`;
  return `[Service]\nExecStartPre=${say("start")}\nExecStopPost=${say("stop")}\n${lines}\n[Install]\nWantedBy=multi-user.target\n`;
}

type Told = { status: number; message: string };

class Lab {
  #seen = 0;

  private constructor(
    readonly t: Test,
    readonly node: Node,
    readonly systemd: Systemd,
    readonly record: string,
  ) {}

  static async start(t: Test): Promise<Lab> {
    const bed = await createTestbed({ nodes: 1, hosts: 0, diskMiB: 128 });
    t.teardown(() => bed.destroy());
    const node = bed.node(1);
    const record = join(bed.dir, "record");
    const log = `[Service]\nStandardOutput=append:${node.daemonLog}\nStandardError=append:${node.daemonLog}\n`;
    const units = Object.entries(UNITS).map(([name, lines]) => [
      `/etc/systemd/system/${name}.service`,
      unitText(name, lines, record),
    ]);
    const systemd = await Systemd.boot(node, {
      "/etc/systemd/system/holdfast.service.d/log.conf": log,
      ...Object.fromEntries(units),
    });
    const lab = new Lab(t, node, systemd, record);
    await systemd.exec(["systemctl", "enable", "--now", "app"]);
    await systemd.exec(["systemctl", "enable", "db"]);
    await lab.holdfast("service", "install");
    const file = join(bed.dir, "cluster.yaml");
    const addresses = "{ lan: 10.77.0.1, repl: 10.78.0.1 }";
    writeFileSync(
      file,
      `name: test\nnodes:\n  n1: { addresses: ${addresses} }\nheartbeat: { interval: 200ms, timeout: 1s }\n`,
    );
    await lab.holdfast("cluster", "create", file, "--as", "n1");
    return lab;
  }

  /** A command's answer, whatever its exit status. */
  async holdfast(...args: string[]): Promise<Told> {
    const argv = [this.node.bed.binary, ...args, "--json", "--var", this.node.varDir];
    return JSON.parse(await this.systemd.exec(["sh", "-c", '"$@" || true', "sh", ...argv])) as Told;
  }

  /** A command on the module that succeeds. */
  async does(command: string): Promise<void> {
    const { status, message } = await this.holdfast(command, "web");
    this.t.equal(status, 0, `${command}: ${message}`);
  }

  /** Applies a module with these services. */
  async apply(services: string, more = "", module = "web"): Promise<Told> {
    const directory = join(this.node.bed.dir, module);
    mkdirSync(join(directory, "hooks"), { recursive: true });
    writeFileSync(join(directory, "module.yaml"), `kind: light\nservices: [${services}]\n${more}`);
    for (const name of ["start_both", "stop_both"])
      writeFileSync(join(directory, "hooks", name), `#!/bin/sh\necho ${name} >> ${this.record}\n`, {
        mode: 0o755,
      });
    return await this.holdfast("module", "apply", module, "--from", directory);
  }

  /** What services and hooks said since this was last asked, in order. */
  said(): string[] {
    const all = existsSync(this.record) ? readFileSync(this.record, "utf8").trimEnd().split("\n") : [];
    const news = all.slice(this.#seen);
    this.#seen = all.length;
    return news;
  }

  async active(unit: string): Promise<boolean> {
    return (await this.systemd.show(unit, "ActiveState")) === "active";
  }

  pid(unit: string): Promise<string> {
    return this.systemd.show(unit, "MainPID");
  }

  /** Everything that boot starts is asked for again. */
  async bootAgain(): Promise<void> {
    await this.systemd.exec(["systemctl", "restart", "multi-user.target"]);
  }

  /** The administrator's directory of units, as text. */
  async units(): Promise<string> {
    const list = "cd /etc/systemd/system && find . | sort && cat $(find . -name '*.conf' | sort)";
    return await this.systemd.exec(["sh", "-c", list]);
  }

  async #told(): Promise<NodeStatus> {
    const { modules } = (await this.holdfast("status")) as unknown as StatusDocument;
    return modules["web"]!.nodes["n1"]!;
  }

  async state(): Promise<string> {
    const { state, readiness } = await this.#told();
    return `${state} ${readiness}`;
  }

  async resource(name: string): Promise<string | undefined> {
    return (await this.#told()).resources[name]?.state;
  }
}

t.test("services of a module", { skip }, async (t) => {
  const lab = await Lab.start(t);
  const { systemd } = lab;
  const before = await lab.units();
  lab.said();

  await t.test("when it is applied, nothing that runs is touched", async (t) => {
    const pid = await lab.pid("app");
    const applied = await lab.apply("db, app");
    t.match(applied, {
      status: 0,
      message: /n1: db starts with the module only, not at boot; app starts with/,
    });
    t.match(applied.message, /it runs now, and is left alone until the module starts or stops here/);
    t.equal(await lab.pid("app"), pid);
    t.equal((await systemd.exec(["systemctl", "is-enabled", "db", "app"])).trim(), "enabled\nenabled");
    await lab.bootAgain();
    t.notOk(await lab.active("db"), "boot does not start what did not run");
    await systemd.exec(["kill", "-9", pid]);
    const again = async () => (await lab.active("app")) && (await lab.pid("app")) !== pid;
    await until("its own Restart= still works", again);
    t.same(lab.said(), ["stop app", "start app"]);
  });

  await t.test("started in order after the hook, stopped in reverse before it", async (t) => {
    await lab.does("start");
    t.same(lab.said(), ["stop app", "start_both", "start db", "start app"]);
    t.ok((await lab.active("db")) && (await lab.active("app")));
    await lab.does("restart");
    t.same(lab.said(), ["stop app", "stop db", "stop_both", "start_both", "start db", "start app"]);
    await lab.does("stop");
    t.same(lab.said(), ["stop app", "stop db", "stop_both"]);
    await systemd.exec(["systemctl", "start", "db"]);
    await lab.bootAgain();
    t.notOk((await lab.active("db")) || (await lab.active("app")), "nobody else starts them");
    t.same(lab.said(), []);
  });

  await t.test("a daemon that dies is back, and the services went on", async (t) => {
    await lab.does("start");
    lab.said();
    const pids = [await lab.pid("db"), await lab.pid("app")];
    await systemd.exec(["kill", "-9", await lab.pid("holdfast.service")]);
    await until("another runs", async () => (await systemd.show("holdfast.service", "NRestarts")) === "1");
    await until("it answers", async () => (await lab.state().catch(() => "")) === "UP Ready");
    t.same([await lab.pid("db"), await lab.pid("app")], pids);
    t.same(lab.said(), []);
  });

  await t.test(
    "a daemon that is late loses them: they are killed, and nothing starts them meanwhile",
    async (t) => {
      const daemon = await lab.pid("holdfast.service");
      await systemd.exec(["kill", "-STOP", daemon]);
      const dead = async () => !(await lab.active("db")) && !(await lab.active("app"));
      await until("both are dead", dead);
      // Ten times what app's own Restart= waits.
      await Bun.sleep(500);
      t.ok(await dead(), "and stay dead");
      t.same(lab.said().sort(), ["stop app", "stop db"]);
      await systemd.exec(["kill", "-CONT", daemon]);
      await until("the module is up again", async () => (await lab.state()) === "UP Ready");
      t.ok((await lab.active("db")) && (await lab.active("app")));
      t.same(lab.said(), ["start_both", "start db", "start app"]);
      await lab.does("stop");
      lab.said();
    },
  );

  await t.test("a service that dies is started again, without the others", async (t) => {
    await lab.does("start");
    lab.said();
    const seen = async () => (await lab.resource("service.db")) === "up";
    await until("it was seen alive", seen);
    const [pid, app] = [await lab.pid("db"), await lab.pid("app")];
    await systemd.exec(["kill", "-9", pid]);
    await until("it runs again", async () => {
      const isBack = (await lab.active("db")) && (await lab.pid("db")) !== pid;
      return isBack && (await lab.state()) === "UP Ready";
    });
    t.same(lab.said(), ["stop db", "start db"]);
    t.equal(await lab.pid("app"), app, "the other one goes on");
    const { message } = await lab.holdfast("explain", "web");
    t.match(
      message,
      /service\.db alone is restarted: service\.db is down: db is \w+\s+\(rule\s+service_failure_db\)/,
    );
    await until("it was seen alive again", seen);
    const first = await lab.pid("db");
    t.match(await lab.holdfast("restart", "web", "service.app"), { status: 0 });
    t.same(lab.said(), ["stop app", "start app"]);
    t.equal(await lab.pid("db"), first);
    t.match(await lab.holdfast("restart", "web", "tcp.db"), {
      status: 2,
      message: /cannot restart tcp\.db without the rest: it can restart service\.db, service\.app/,
    });
    await until("that one, too", seen);
    await lab.does("stop");
    lab.said();
  });

  await t.test("a process that is a unit of systemd: watched, and started again alone", async (t) => {
    await lab.apply("db, app", "processes: { helper: { unit: helper } }\n");
    await systemd.exec(["systemctl", "start", "helper"]);
    await lab.does("start");
    const seen = async () => (await lab.resource("process.helper")) === "up";
    await until("it was seen alive", seen);
    lab.said();
    const [helper, db] = [await lab.pid("helper"), await lab.pid("db")];
    await systemd.exec(["kill", "-9", helper]);
    const isBack = async () => (await lab.active("helper")) && (await lab.pid("helper")) !== helper;
    await until("it runs again", isBack);
    await until("it was seen alive again", seen);
    t.equal(await lab.pid("db"), db);
    t.same(lab.said(), ["stop helper", "start helper"]);
    await lab.does("stop");
    await systemd.exec(["systemctl", "stop", "helper"]);
    lab.said();
  });

  await t.test("a service that does not start fails the start", async (t) => {
    const applied = await lab.apply("db, broken");
    t.match(applied, { status: 0, message: /app\.service starts by itself again, as it did before/ });
    const failed = await lab.holdfast("start", "web");
    t.match(failed, { status: 1, message: /start_both failed on n1: .*broken/ });
    t.equal(await lab.state(), "STOP NotReady");
    t.notOk(await lab.active("db"), "what had started is stopped again");
    t.match(lab.said(), ["start_both", "start db", "start broken", "stop broken", "stop db", "stop_both"]);
  });

  await t.test("a service that does not stop is killed by force, within the limits", async (t) => {
    t.match(await lab.apply("deaf", "timeouts: { stop: 1s, force: 4s }\n"), { status: 0 });
    await lab.does("start");
    t.ok(await lab.active("deaf"));
    await lab.does("stop");
    t.notOk(await lab.active("deaf"));
    t.same(lab.said(), ["start_both", "start deaf", "stop deaf", "stop_both"]);
  });

  await t.test("a drop-in that systemd has not seen, after a crash between the two", async (t) => {
    const file = "/etc/systemd/system/deaf.service.d/50-holdfast-web.conf";
    const move = `mv ${file} /root/kept; systemctl daemon-reload; mv /root/kept ${file}`;
    await systemd.exec(["sh", "-ec", move]);
    t.equal(await systemd.show("deaf", "NeedDaemonReload"), "yes");
    await lab.apply("deaf", "timeouts: { stop: 2s, force: 4s }\n");
    t.equal(await systemd.show("deaf", "NeedDaemonReload"), "no");
    await systemd.exec(["systemctl", "start", "deaf"]);
    t.notOk(await lab.active("deaf"), "it is in force");
  });

  await t.test("a module that cannot be removed keeps its services", async (t) => {
    const held = `${lab.node.varDir}/state/removed.json.new`;
    const units = await lab.units();
    await systemd.exec(["mkdir", held]);
    t.match(await lab.holdfast("module", "remove", "web"), { status: 1 });
    t.equal(await lab.units(), units);
    await systemd.exec(["rmdir", held]);
  });

  await t.test("a service of one module is refused to another", async (t) => {
    for (const services of ["app, deaf", "deaf.service"])
      t.match(await lab.apply(services, "", "second"), {
        status: 1,
        message:
          /^nothing was changed: the service deaf belongs to web on n1: second cannot start and stop it too/,
      });
    t.notOk(existsSync(lab.node.on.path(`${lab.node.varDir}/modules/second`)), "nothing is left of it");
  });

  await t.test("of a template, `--set services=…` is all that a service needs", async (t) => {
    const of = async (...words: string[]) => t.match(await lab.holdfast(...words), { status: 0 });
    await of("module", "new", "plain", "--template", "light", "--set", "services=helper");
    await of("module", "apply", "plain");
    await of("start", "plain");
    const first = await lab.pid("helper");
    t.ok(await lab.active("helper"));
    await systemd.exec(["kill", "-9", first]);
    const isBack = async () => (await lab.active("helper")) && (await lab.pid("helper")) !== first;
    await until("it runs again", isBack);
    await of("stop", "plain");
    t.notOk(await lab.active("helper"));
    await of("module", "remove", "plain");
  });

  await t.test("when the module is removed, everything is as it was", async (t) => {
    const removed = await lab.holdfast("module", "remove", "web");
    t.match(removed, { status: 0, message: /deaf\.service starts by itself again, as it did before/ });
    t.equal(await lab.units(), before);
    t.notMatch(before, DROP_IN);
    await lab.bootAgain();
    await until("boot starts them", async () => (await lab.active("db")) && (await lab.active("app")));
  });
  if (!t.passing()) t.comment(`${systemd.log.slice(-4000)}\n${readFileSync(lab.node.daemonLog, "utf8")}`);
});
