/**
 * nginx and Apache under their templates' hooks: start, reload, stop, a crash, a pid file that outlived its server, and a configuration with
 * a fault.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import t from "tap";
import { templateHooks } from "../fixtures/template_hooks.ts";

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
