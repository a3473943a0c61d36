/**
 * The suite of hook scripts in test/deno, each run by the real Deno and by Holdfast from the same place: the same bytes on
 * standard output, the same exit status, the same files left behind.
 *
 * Deno comes with npm (its binary is in the package for this platform: nothing more is fetched).
 */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import { documentedAsMissing, documentedMembers, documentedNames } from "../fixtures/documented_deno.ts";
import { binary, deno, noDeno, scratch, sourceRoot, writeFiles } from "../fixtures/scratch.ts";

const suite = join(sourceRoot, "test/deno");
const work = scratch("conformance");

// Commands are run as other users here.
chmodSync(work, 0o755);

/** Members of the namespace that scripts of the suite have used under the real Deno, a line each. */
const record = join(work, "used");

const INPUT = "line 1\nline 2\nlast";
const FLAGS = ["-A", "--no-check", "--quiet"];
const RECORDER = join(suite, "lib/record.ts");
const LIMIT_MS = 20_000;

/** A certificate for localhost, for both runtimes the same. */
function makeCertificate(): { key: string; cert: string } {
  const directory = join(work, "certificate");
  mkdirSync(directory);
  const args =
    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost";
  const names = [
    "-addext",
    "subjectAltName=DNS:localhost",
    "-addext",
    "basicConstraints=critical,CA:FALSE",
    "-keyout",
    "key.pem",
    "-out",
    "cert.pem",
  ];
  const made = spawnSync("openssl", [...args.split(" "), ...names], { cwd: directory, encoding: "utf8" });
  if (made.status !== 0) throw new Error(`openssl: ${made.stderr ?? String(made.error)}`);
  const read = (name: string) => readFileSync(join(directory, name), "utf8");
  return { key: read("key.pem"), cert: read("cert.pem") };
}

/** Names, types, modes and contents of everything below a directory. */
function tree(directory: string, below = ""): string[] {
  return readdirSync(join(directory, below))
    .sort((a, b) => (a < b ? -1 : 1))
    .flatMap((name) => {
      const path = join(below, name);
      const stat = lstatSync(join(directory, path));
      const mode = (stat.mode & 0o7777).toString(8);
      if (stat.isDirectory()) return [`${path}/ ${mode}`, ...tree(directory, path)];
      if (stat.isSymbolicLink()) return [`${path} -> ${readlinkSync(join(directory, path))}`];
      if (!stat.isFile()) return [`${path} special ${mode}`];
      return [`${path} ${mode} ${readFileSync(join(directory, path)).toString("base64")}`];
    });
}

interface Outcome {
  stdout: string;
  status: string;
  files: string[];
  stderr: string;
}

/** Runs the script in a new directory, always at the same path, so that what it prints of it is the same too. */
async function run(
  name: string,
  command: readonly string[],
  prepared: Record<string, string>,
): Promise<Outcome> {
  const cwd = join(work, "runs", name);
  rmSync(cwd, { recursive: true, force: true });
  writeFiles(cwd, prepared);
  const child = Bun.spawn([...command, join(suite, `${name}.ts`), "one", "--two"], {
    cwd,
    env: {
      PATH: process.env["PATH"] ?? "",
      HOME: work,
      PROBE: "here",
      RECORD: record,
      DENO_DIR: join(work, "deno"),
      DENO_NO_UPDATE_CHECK: "1",
    },
    stdin: Buffer.from(INPUT),
    stdout: "pipe",
    stderr: "pipe",
    timeout: LIMIT_MS,
    killSignal: "SIGKILL",
  });
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  await child.exited;
  // What a script left running may still write.
  if (name === "child_left_behind") while (!existsSync(join(cwd, "late"))) await Bun.sleep(10);
  return { stdout, status: String(child.signalCode ?? child.exitCode), files: tree(cwd), stderr };
}

const names = readdirSync(suite)
  .filter((name) => name.endsWith(".ts"))
  .map((name) => name.slice(0, -3));
const only = process.env["ONLY"]?.split(",");

t.test("scripts do the same under Deno and under Holdfast", { skip: noDeno }, async (t) => {
  const { key, cert } = makeCertificate();
  for (const name of [...names, "mapped/script"]) {
    if (only && !only.includes(name)) continue;
    const prepared: Record<string, string> = name === "tls" ? { "key.pem": key, "cert.pem": cert } : {};
    const theirs = await run(name, [deno, "run", ...FLAGS, "--preload", RECORDER], prepared);
    const ours = await run(name, [binary, "run"], prepared);
    const ends = /^(end_|exit_|killed|signals)/.test(name);
    if (!ends) t.equal(theirs.status, "0", `${name} works under Deno (${theirs.stderr.slice(0, 300)})`);
    t.same(ours.stdout.split("\n"), theirs.stdout.split("\n"), `${name}: stdout`);
    t.equal(ours.status, theirs.status, `${name}: exit status (${ours.stderr.slice(0, 300)})`);
    t.same(ours.files, theirs.files, `${name}: files`);
  }
  if (only) return;
  const used = new Set(readFileSync(record, "utf8").split("\n"));
  const listed = [
    ...documentedNames,
    ...[...documentedMembers].flatMap(([owner, names]) => names.map((name) => `${owner}.${name}`)),
  ];
  t.same(
    listed.filter((name) => !used.has(name)),
    [],
    "each name that the documentation lists is used by a script that both have run",
  );
});

t.test(
  "the real namespace has what is listed, and no more that is not named",
  { skip: noDeno },
  async (t) => {
    const script = join(work, "names.ts");
    writeFileSync(script, "console.log(JSON.stringify(Object.getOwnPropertyNames(Deno)));");
    const namesOf = (...unstable: string[]) =>
      JSON.parse(
        spawnSync(deno, ["run", ...FLAGS, ...unstable, script], { encoding: "utf8" }).stdout,
      ) as string[];
    const stable = namesOf();
    const named = [...documentedNames, ...documentedAsMissing, "internal"];
    t.same(
      stable.filter((name) => !named.includes(name)),
      [],
      "the rest is named as not offered",
    );
    t.same(
      documentedNames.filter((name) => !stable.includes(name)),
      [],
      "nothing is made up",
    );
    const all = namesOf(...["kv", "cron", "net", "bundle"].map((name) => `--unstable-${name}`));
    t.same(
      documentedAsMissing.filter((name) => !all.includes(name)),
      [],
      "nor as not offered",
    );
  },
);
