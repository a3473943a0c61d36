/**
 * The `Deno` namespace: one script, run by this program and by the real deno where it is installed, must print the same.
 */
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { selfCommand } from "../../core/platform/self.ts";

const directory = realpathSync(mkdtempSync(join(tmpdir(), `holdfast-deno-${process.pid}-`)));
t.teardown(() => rmSync(directory, { recursive: true }));

/** Each line is one probe: an expression whose JSON, or the class of the error that it throws, is printed. */
const probes = `
Deno.args
import.meta.main
typeof Deno.pid
Deno.build.os
Deno.build.arch
Deno.cwd()
Deno.hostname().length > 0
Deno.uid()
Deno.mainModule.startsWith("file:///")
Deno.env.get("PROBE")
Deno.env.get("NOT_SET")
(Deno.env.set("A_B", "1"), Deno.env.has("A_B"))
(Deno.env.delete("A_B"), Deno.env.toObject().A_B)
await Deno.writeTextFile("a.txt", "hello")
await Deno.readTextFile("a.txt")
Array.from(await Deno.readFile("a.txt"))
await Deno.writeTextFile("a.txt", " more", { append: true })
Deno.readTextFileSync("a.txt")
Deno.readTextFileSync(new URL("file://" + Deno.cwd() + "/a.txt"))
await Deno.writeTextFile("a.txt", "x", { createNew: true })
await Deno.writeTextFile("none.txt", "x", { create: false })
await Deno.writeFile("m", new Uint8Array([1, 2]), { mode: 0o640 })
((await Deno.stat("m")).mode & 0o777)
(await Deno.stat("m")).size
(await Deno.stat("a.txt")).isFile
(await Deno.stat("a.txt")).mtime instanceof Date
await Deno.stat("missing")
await Deno.readTextFile("missing")
await Deno.readTextFile(".")
await Deno.readTextFile("a.txt/b")
Deno.statSync("missing")
await Deno.mkdir("d")
await Deno.mkdir("d")
await Deno.mkdir("d/e/f")
await Deno.mkdir("d/e/f", { recursive: true })
await Deno.symlink("a.txt", "link")
(await Deno.lstat("link")).isSymlink
(await Deno.stat("link")).isSymlink
await Deno.readLink("link")
(await Deno.realPath("link")).endsWith("/a.txt")
(await Array.fromAsync(Deno.readDir("."))).map((e) => [e.name, e.isFile, e.isDirectory, e.isSymlink]).sort()
[...Deno.readDirSync("d")].map((e) => e.name)
await Array.fromAsync(Deno.readDir("missing"))
await Deno.remove("d")
await Deno.remove("missing")
await Deno.remove("missing", { recursive: true })
await Deno.remove("d", { recursive: true })
await Deno.remove("link")
await Deno.rename("a.txt", "b.txt")
await Deno.rename("missing", "x")
await Deno.copyFile("b.txt", "c.txt")
await Deno.readTextFile("c.txt")
await Deno.truncate("c.txt", 3)
Deno.readTextFileSync("c.txt")
await Deno.chmod("c.txt", 0o600)
((await Deno.stat("c.txt")).mode & 0o777)
(await Deno.stat(await Deno.makeTempDir({ prefix: "p", dir: "." }))).isDirectory
(await Deno.stat(await Deno.makeTempFile({ suffix: ".s", dir: "." }))).size
(() => { try { Deno.statSync("missing") } catch (e) { return [e instanceof Deno.errors.NotFound, e instanceof Error, e.name, e.code] } })()
new Deno.errors.AlreadyExists("x").message
text(await new Deno.Command("sh", { args: ["-c", "echo out; echo err >&2; exit 3"] }).output())
text(new Deno.Command("sh", { args: ["-c", "echo out; exit 3"] }).outputSync())
text(await new Deno.Command("cat").output())
text(await new Deno.Command("sh", { args: ["-c", "kill -9 $$"] }).output())
text(await new Deno.Command("sh", { args: ["-c", "echo $X $PROBE"], env: { X: "1" } }).output())
text(await new Deno.Command("/bin/sh", { args: ["-c", "echo $X $PROBE"], env: { X: "1" }, clearEnv: true }).output())
text(await new Deno.Command("pwd", { cwd: "/" }).output())
await new Deno.Command("no-such-program").output()
new Deno.Command("no-such-program").outputSync()
new Deno.Command("./m").spawn()
new Deno.Command("pwd", { cwd: "/nonexistent" }).spawn()
(await new Deno.Command("true", { stdout: "null", stderr: "null" }).output()).stdout
await new Deno.Command("true", { stdin: "piped" }).output()
new Deno.Command("true").spawn().stdout
await new Deno.Command("sh", { args: ["-c", "exit 4"] }).spawn().status
await spawned()
await killed()
Deno.kill(2 ** 22 + 1, "SIGTERM")
Deno.chdir("/nonexistent")
(Deno.chdir("/"), Deno.cwd())
(Deno.exitCode = 5, Deno.exitCode)
`;

const script = `
const text = ({ code, success, signal, stdout, stderr }) => [code, success, signal, new TextDecoder().decode(stdout), stderr && new TextDecoder().decode(stderr)];
async function spawned() {
  const child = new Deno.Command("cat", { stdin: "piped", stdout: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode("through"));
  await writer.close();
  return [await new Response(child.stdout).text(), await child.status];
}
async function killed() {
  const child = new Deno.Command("sleep", { args: ["100"] }).spawn();
  child.kill("SIGTERM");
  return await child.status;
}
async function probe(name, work) {
  let line;
  try { line = JSON.stringify(await work()) ?? "undefined"; } catch (error) { line = "throws " + error.name; }
  console.log(name + " => " + line);
}
${probes
  .trim()
  .split("\n")
  .map((line) => `await probe(${JSON.stringify(line)}, async () => ${line});`)
  .join("\n")}
`;

async function run(name: string, command: readonly string[]): Promise<{ lines: string[]; code: number }> {
  const cwd = join(directory, name);
  await Bun.$`mkdir ${cwd}`;
  const file = join(directory, `${name}.ts`);
  writeFileSync(file, script);
  const child = Bun.spawn([...command, file, "one", "--two"], {
    cwd,
    env: { ...process.env, PROBE: "here" },
    stderr: "pipe",
  });
  const output = await new Response(child.stdout).text();
  const errors = await new Response(child.stderr).text();
  if (errors !== "") t.comment(errors.slice(0, 500));
  return { lines: output.replaceAll(cwd, "CWD").trim().split("\n"), code: await child.exited };
}

const deno = [
  new URL("../../node_modules/.bin/deno", import.meta.url).pathname,
  Bun.which("deno") ?? "",
].find(existsSync);

t.test("the namespace answers every probe", async (t) => {
  const ours = await run("holdfast", selfCommand("run"));
  t.equal(ours.lines.length, probes.trim().split("\n").length);
  t.equal(ours.code, 5, "Deno.exitCode is the exit status");
  t.equal(ours.lines[0], `Deno.args => ["one","--two"]`);
  t.equal(ours.lines[1], "import.meta.main => true");
  if (deno === undefined) {
    t.comment("NOT COMPARED with the real deno: it is not installed (npm install --no-save deno@2.9.6)");
    return;
  }
  const theirs = await run("deno", [deno, "run", "-A", "--no-check", "--quiet"]);
  t.same(ours.lines, theirs.lines);
  t.equal(theirs.code, 5);
});

t.test("signals reach their listeners", async (t) => {
  const file = join(directory, "signals.ts");
  writeFileSync(
    file,
    `Deno.addSignalListener("SIGUSR1", () => { console.log("got it"); Deno.exit(6); }); console.log("ready"); setInterval(() => {}, 1000);`,
  );
  const child = Bun.spawn([...selfCommand("run"), file], {
    stdout: Bun.file(join(directory, "signals.out")),
  });
  while (
    !existsSync(join(directory, "signals.out")) ||
    !readFileSync(join(directory, "signals.out"), "utf8").includes("ready")
  )
    await Bun.sleep(20);
  child.kill("SIGUSR1");
  t.equal(await child.exited, 6);
  t.match(readFileSync(join(directory, "signals.out"), "utf8"), /got it/);
});
