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
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";

const root = fileURLToPath(new URL("../..", import.meta.url));
const suite = join(root, "test/deno");
const binary = process.env["HOLDFAST_BINARY"] ?? join(root, "dist/holdfast");
const deno = join(root, "node_modules/.bin/deno");
const skip = !existsSync(binary)
  ? "there is no binary: npm run build"
  : existsSync(deno)
    ? false
    : "NOT COMPARED: the npm package deno is not installed";
const work = realpathSync(mkdtempSync(join(tmpdir(), `holdfast-conformance-${process.pid}-`)));
t.teardown(() => rmSync(work, { recursive: true, force: true }));

// Commands are run as other users here.
chmodSync(work, 0o755);

const INPUT = "line 1\nline 2\nlast";
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
  mkdirSync(cwd, { recursive: true });
  for (const [file, content] of Object.entries(prepared)) writeFileSync(join(cwd, file), content);
  const child = Bun.spawn([...command, join(suite, `${name}.ts`), "one", "--two"], {
    cwd,
    env: {
      PATH: process.env["PATH"] ?? "",
      HOME: work,
      PROBE: "here",
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

t.test("scripts do the same under Deno and under Holdfast", { skip }, async (t) => {
  const { key, cert } = makeCertificate();
  for (const name of [...names, "mapped/script"]) {
    if (only && !only.includes(name)) continue;
    const prepared: Record<string, string> = name === "tls" ? { "key.pem": key, "cert.pem": cert } : {};
    const theirs = await run(name, [deno, "run", "-A", "--no-check", "--quiet"], prepared);
    const ours = await run(name, [binary, "run"], prepared);
    const ends = /^(end_|exit_|killed|signals)/.test(name);
    if (!ends) t.equal(theirs.status, "0", `${name} works under Deno (${theirs.stderr.slice(0, 300)})`);
    t.same(ours.stdout.split("\n"), theirs.stdout.split("\n"), `${name}: stdout`);
    t.equal(ours.status, theirs.status, `${name}: exit status (${ours.stderr.slice(0, 300)})`);
    t.same(ours.files, theirs.files, `${name}: files`);
  }
});
