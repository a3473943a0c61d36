/**
 * nginx and Apache under their templates' hooks: start, reload, stop, a crash, a pid file that outlived its server, and a configuration with
 * a fault. And a farm of nginx on two nodes.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import t from "tap";
import { templateHooks } from "../fixtures/template_hooks.ts";
import { templateFiles } from "./from_template.ts";
import { createMirror } from "./mirror.ts";
import { type Node, testbedImpossible, until } from "./testbed.ts";

t.setTimeout(400_000);

/** What differs between the two. */
interface WebServer {
  program: string;
  /** Its settings, below `place`. */
  configure(place: string, port: number, title: string): void;
  config(place: string): string;
  pid(place: string): string;
  /** How it calls a directive that does not exist. */
  fault: RegExp;
}

const page = (place: string) => `${place}/pages`;

function nginxConf(place: string, port: number, title: string): string {
  return `pid ${place}/nginx.pid; error_log ${place}/error.log; events {}
http { access_log off; server { listen 127.0.0.1:${port}; root ${page(place)}; add_header X-Title ${title};
  location /slow { return 200 "slow"; } } }\n`;
}

function apacheConf(place: string, port: number, title: string): string {
  const modules = ["mpm_event", "authz_core", "headers"].map(
    (name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`,
  );
  return `${modules.join("\n")}
PidFile ${place}/apache2.pid\nErrorLog ${place}/error.log\nServerName localhost\nUser www-data\nGroup www-data
Listen 127.0.0.1:${port}\nDocumentRoot ${page(place)}\nHeader set X-Title ${title}\n`;
}

const SERVERS: Record<string, WebServer> = {
  nginx: {
    program: "nginx",
    configure: (place, port, title) => writeFileSync(`${place}/nginx.conf`, nginxConf(place, port, title)),
    config: (place) => `${place}/nginx.conf`,
    pid: (place) => `${place}/nginx.pid`,
    fault: /unknown directive "nonsense" in \/.*\/nginx\.conf:4/,
  },
  apache: {
    program: "apache2",
    configure: (place, port, title) => {
      // The rest of it, as Debian has it: apache2ctl takes all from here.
      writeFileSync(
        `${place}/envvars`,
        `export APACHE_RUN_DIR=${place} APACHE_LOCK_DIR=${place} APACHE_RUN_USER=www-data\n`,
      );
      writeFileSync(`${place}/apache2.conf`, apacheConf(place, port, title));
    },
    config: (place) => place,
    pid: (place) => `${place}/apache2.pid`,
    fault: /line \d+ of \/.*\/apache2\.conf:\s+Invalid command 'nonsense'/,
  },
};

const skip = (program: string) =>
  process.getuid?.() !== 0
    ? "needs root"
    : existsSync(`/usr/sbin/${program}`)
      ? false
      : `needs ${program} (apt-get install ${program})`;

let port = 21_000 + 2 * (process.pid % 10_000);
for (const [name, server] of Object.entries(SERVERS))
  t.test(`${name} under its template's hooks`, { skip: skip(server.program), timeout: 60_000 }, async (t) => {
    const place = mkdtempSync(`/tmp/holdfast-${name}-${process.pid}-`);
    Bun.spawnSync(["chmod", "755", place]);
    mkdirSync(page(place));
    writeFileSync(`${page(place)}/index.html`, "here");
    const own = ++port;
    const pidFile = server.pid(place);
    const call = templateHooks(name, place, [
      `vars.config=${server.config(place)}`,
      `vars.pid=${pidFile}`,
      `vars.port=${own}`,
    ]);
    const master = () => Number(readFileSync(pidFile, "utf8"));
    const title = async () => (await fetch(`http://127.0.0.1:${own}/index.html`)).headers.get("x-title");
    t.teardown(async () => {
      await call("stop_both", true);
      rmSync(place, { recursive: true });
    });

    server.configure(place, own, "first");
    t.match(await call("prestart"), { ok: true });
    t.match(await call("start_both"), { ok: true, said: /accepts connections on port/ });
    t.equal(await title(), "first");
    const first = master();

    server.configure(place, own, "second");
    t.match(await call("start_both"), { ok: true, said: /runs already: it reads its configuration again/ });
    for (let round = 0; (await title()) !== "second" && round < 100; round++) await Bun.sleep(50);
    t.equal(await title(), "second", "the new configuration counts");
    t.equal(master(), first, "and it is the same server");

    writeFileSync(
      server.program === "nginx" ? server.config(place) : `${place}/apache2.conf`,
      nonsense(place, server, own),
    );
    t.match(await call("start_both"), { ok: true, said: /goes on with the configuration that it has/ });
    t.equal(await title(), "second");
    t.match(
      (await call("stop_both")).said,
      /stopped$/,
      "it is stopped although its configuration has a fault",
    );
    const told = await call("start_both");
    t.match(told, { ok: false, said: server.fault }, "the fault is told in its own words");
    t.match(await call("prestart"), { ok: false, said: server.fault }, "before it is started, too");

    server.configure(place, own, "third");
    t.match(await call("start_both"), { ok: true });
    process.kill(-groupOf(master()), "SIGKILL");
    // Its pid file stays, and the number is somebody else's by now.
    writeFileSync(pidFile, `${process.pid}\n`);
    t.match(await call("start_both"), { ok: true }, "after a crash");
    t.equal(await title(), "third");
    t.not(master(), process.pid);
    t.match(await call("stop_both", true), { ok: true, said: /stopped \(cut off\)/ });
    t.match(await call("stop_both"), { ok: true, said: /does not run/ });
    await t.rejects(title());
  });

function nonsense(place: string, server: WebServer, own: number): string {
  const good = server.program === "nginx" ? nginxConf(place, own, "x") : apacheConf(place, own, "x");
  return `${good}nonsense on;\n`;
}

/** The process group that its processes are in. */
function groupOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]!.split(" ")[2]);
}

t.test(
  "a farm of nginx: a crash is mended on its node, a fault is told there, and the other goes on",
  { skip: testbedImpossible() ?? skip("nginx"), timeout: 120_000 },
  async (t) => {
    const farm = await createMirror({
      files: templateFiles("nginx", [
        "vars.config=DATA/nginx.conf",
        "vars.port=8080",
        "checkers.http.site.url=http://127.0.0.1:8080/",
      ]),
    });
    await using _bed = farm.bed;
    const { n1, n2 } = farm;
    const write = (node: Node, more = "") =>
      writeFileSync(
        node.on.path(`${farm.data}/nginx.conf`),
        `user www-data; pid /run/nginx.pid; error_log /run/error.log; events {}
http { access_log off; server { listen 8080; location / { return 200 "${node.name}"; } } }\n${more}`,
      );
    for (const node of [n1, n2]) write(node);
    const answers = async () => {
      const script = `for (const n of [1, 2]) console.log(await fetch("http://10.77.0." + n + ":8080/", { signal: AbortSignal.timeout(500) }).then((one) => one.text(), () => "-"))`;
      const { stdout } = await farm.host.exec([process.execPath, "-e", script]);
      return stdout.trim().split("\n");
    };
    const states = async () => await farm.states();

    await n1.holdfast(["start", "db", "--all"]);
    await farm.settled("UP", "UP");
    await until("both serve", async () => Bun.deepEquals(await answers(), ["n1", "n2"]));
    t.same(await states(), ["UP Ready", "UP Ready"]);

    const master = n1.processes().find(({ command }) => command.startsWith("nginx: master"))!;
    process.kill(-groupOf(master.pid), "SIGKILL");
    await until(
      "n1 has a new server",
      async () =>
        n1
          .processes()
          .some(({ command, pid }) => command.startsWith("nginx: master") && pid !== master.pid) &&
        Bun.deepEquals(await answers(), ["n1", "n2"]),
    );
    t.match((await n1.holdfast(["log", "db"])).stdout, /process\.nginx/, "the log says what was missed");
    await farm.settled("UP", "UP");

    await n2.holdfast(["stop", "db"]);
    t.same(await answers(), ["n1", "-"]);
    write(n2, "nonsense on;\n");
    await n2.holdfast(["start", "db"], { mayFail: true });
    await until("n2 has told the fault", async () =>
      /nginx cannot start with its configuration: .*unknown directive "nonsense"/.test(
        (await n2.holdfast(["log", "db"])).stdout,
      ),
    );
    t.match((await states())[0], "UP Ready");
    t.same(await answers(), ["n1", "-"]);
    write(n2);
    await n2.holdfast(["start", "db"], { mayFail: true });
    await farm.settled("UP", "UP");
    await until("both serve again", async () => Bun.deepEquals(await answers(), ["n1", "n2"]));
    await n1.holdfast(["stop", "db", "--all"]);
    t.same(await answers(), ["-", "-"]);
  },
);
