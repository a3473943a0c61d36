/**
 * The hooks of the templates whose application cannot run here, against recorded stand-ins (test/fixtures/stand_ins): programs that answer
 * as the manuals of the real ones say. The hooks are the real ones, in processes of their own, with a /run of their own that looks like systemd's.
 */
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "@std/yaml";
import t from "tap";
import { TEMPLATES } from "../../templates/catalog.ts";
import { binary, noBinary, scratch, sourceRoot, writeFiles } from "../fixtures/scratch.ts";

/** A hook that takes longer hangs, ms. */
const LIMIT_MS = 30_000;
const skip =
  process.getuid?.() !== 0 || process.platform !== "linux"
    ? "needs root on Linux (a /run of its own)"
    : noBinary;

/** Calls a hook or checker of the module as a node would, and says what a checker found. */
const DRIVER = `const [file, force, vars] = Deno.args;
const call = (await import(file)).default;
const found = await call({ module: "m", node: "n1", vars: JSON.parse(vars), force: force === "force", dir: import.meta.dirname, peers: [] });
if (found !== undefined) console.log("found", JSON.stringify(found));
`;

/** A module of the template in a place of its own, and the stand-ins' state. */
class Stand {
  readonly place = scratch("stand-in");
  readonly state = join(this.place, "state");
  readonly #vars: Record<string, string>;

  constructor(name: string, vars: (tools: string) => Record<string, string>) {
    const { files } = TEMPLATES.find((one) => one.name === name)!;
    writeFiles(this.place, { ...files, "drive.ts": DRIVER, "secrets/password": "hu'sh" });
    cpSync(join(sourceRoot, "test/fixtures/stand_ins"), join(this.place, "bin"), { recursive: true });
    writeFileSync(join(this.place, "bin/oracle"), "");
    mkdirSync(this.state);
    // User nobody plays the application's.
    for (const path of [this.place, this.state]) chmodSync(path, 0o777);
    const own = (parse(files["module.yaml"]!) as { vars: Record<string, string> }).vars;
    this.#vars = { ...own, ...vars(this.place) };
  }

  /** Runs `hooks/NAME.ts` or `checkers/NAME.ts`. */
  async call(file: string, force = ""): Promise<{ status: number; said: string }> {
    const script = `mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec "$@"`;
    const command = [
      binary,
      "run",
      join(this.place, "drive.ts"),
      `./${file}.ts`,
      force,
      JSON.stringify(this.#vars),
    ];
    const namespace = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"];
    const child = Bun.spawn([...namespace, ...command], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      timeout: LIMIT_MS,
      env: {
        PATH: `${this.place}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
        STAND_IN_STATE: this.state,
        HOLDFAST_SECRETS: join(this.place, "secrets"),
      },
    });
    const said = Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    return { status: await child.exited, said: (await said).join("") };
  }

  set(file: string, text: string): void {
    writeFileSync(join(this.state, file), text, { mode: 0o666 });
  }

  get(file: string): string {
    return readFileSync(join(this.state, file), "utf8").trim();
  }

  /** What was asked of the stand-ins since this was last asked. */
  asked(): string {
    const text = existsSync(join(this.state, "calls")) ? this.get("calls") : "";
    rmSync(join(this.state, "calls"), { force: true });
    return text;
  }
}

t.test("oracle", { skip }, async (t) => {
  const node = new Stand("oracle", (home) => ({ home, user: "nobody" }));
  t.match(await node.call("hooks/prestart"), { status: 0 });
  t.match(await node.call("checkers/oracle"), { said: /ORA-01034/ });
  node.asked();
  t.match(await node.call("hooks/start_prim"), { status: 0, said: /the database is open/ });
  const asked = node.asked();
  t.match(asked, new RegExp(`sqlplus -S -L / as sysdba as nobody, ORCL in ${node.place}\\n`));
  t.match(asked, /lsnrctl start LISTENER.*startup mount.*alter database open;/s);
  t.match(await node.call("checkers/oracle"), { status: 0, said: "found true\n" });
  t.match(await node.call("hooks/start_prim"), { status: 0, said: /open already/ });
  t.notMatch(node.asked(), /lsnrctl start|startup/);
  t.match(await node.call("hooks/stop_prim"), { status: 0 });
  t.equal(node.get("instance"), "DOWN");
  t.match(await node.call("hooks/stop_prim"), { status: 0, said: /does not run/ });
  node.set("backup", "");
  t.match(await node.call("hooks/start_prim"), { status: 0, said: /in the midst of a hot backup/ });
  t.match(await node.call("hooks/stop_prim", "force"), { status: 0, said: /cut off/ });
  t.match(node.asked(), /shutdown abort/);
  node.set("broken", "");
  t.match(await node.call("hooks/start_prim"), { status: 1, said: /startup mount: ORA-01078.*LRM-00109/ });
});

t.test("sqlserver", { skip }, async (t) => {
  const node = new Stand("sqlserver", (place) => ({
    sqlcmd: `${place}/bin/sqlcmd`,
    data: place,
    user: "root",
  }));
  node.set("mssql-server.enabled", "enabled");
  t.match(await node.call("hooks/prestart"), { status: 0, said: /no longer started at boot/ });
  t.equal(node.get("mssql-server.enabled"), "disabled");
  node.set("mssql-server.active", "active");
  t.match(await node.call("hooks/prestart"), {
    status: 1,
    said: /mssql-server runs on this node, beside this module/,
  });
  node.set("mssql-server.active", "inactive");
  t.match(await node.call("checkers/sql"), { status: 1, said: /Login timeout expired/ });
  node.set("recovering", "sales is RECOVERING\nsales is RECOVERING\nsales is SUSPECT\n");
  t.match(await node.call("hooks/start_prim"), {
    status: 0,
    said: /database sales is SUSPECT.*answers queries/s,
  });
  t.notMatch(node.asked(), /hu'sh/, "the password is in no argument");
  t.match(await node.call("checkers/sql"), { status: 0, said: "found true\n" });
  t.match(await node.call("hooks/stop_prim"), { status: 0 });
  t.match(await node.call("hooks/stop_prim"), { status: 0, said: /does not run/ });
  t.match(await node.call("hooks/start_prim"), { status: 0 });
  node.set("mssql-server.hangs", "");
  t.match(await node.call("hooks/stop_prim"), { status: 1, said: /systemctl .*stop mssql-server/ });
  t.match(await node.call("hooks/stop_prim", "force"), { status: 0, said: /forced/ });
  t.match(node.asked(), /kill --signal=KILL mssql-server$/);
});

t.test("iis", { skip }, async (t) => {
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("here") });
  t.teardown(() => server.stop(true));
  const node = new Stand("iis", (place) => ({ appcmd: `${place}/bin/appcmd.exe`, url: server.url.href }));
  t.match(await node.call("hooks/prestart"), {
    status: 1,
    said: /IIS has no site "Default Web Site" on this node/,
  });
  for (const file of ["site Default Web Site", "apppool DefaultAppPool"]) node.set(file, "Stopped");
  t.match(await node.call("hooks/prestart"), { status: 0 });
  t.match(await node.call("hooks/start_both"), { status: 0, said: /Default Web Site answers/ });
  t.equal(node.get("site Default Web Site"), "Started");
  t.match(await node.call("hooks/start_both"), { status: 0 }, "harmless when it runs");
  t.match(await node.call("hooks/stop_both"), { status: 0 });
  t.equal(node.get("apppool DefaultAppPool"), "Stopped");
  t.equal(node.get("W3SVC.active"), "active", "other sites go on");
  t.match(await node.call("hooks/stop_both", "force"), { status: 0 });
  t.match(await node.call("hooks/stop_both"), { status: 0, said: /does not run/ });
});
