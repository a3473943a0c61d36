import { attempt, bytes, text } from "./lib/attempt.ts";

const sh = (script: string, options: Deno.CommandOptions = {}) => new Deno.Command("sh", { args: ["-c", script], ...options });
const shown = ({ code, success, signal, stdout, stderr }: Deno.CommandOutput) => ({ code, success, signal, stdout: text(stdout), stderr: text(stderr) });
await attempt("output", async () => shown(await sh("echo out; echo err >&2; exit 3").output()));
await attempt("outputSync", () => shown(sh("echo out; echo err >&2; exit 3").outputSync()));
await attempt("success", async () => shown(await sh("true").output()));
await attempt("killed", async () => shown(await sh("kill -9 $$").output()));
await attempt("killed at once", () => shown(sh("kill -15 $$").outputSync()));
await attempt("its name", async () => text((await sh("echo $0").output()).stdout));
await attempt("by its path", async () => text((await new Deno.Command("/bin/sh", { args: ["-c", "echo $0"] }).output()).stdout));
await attempt("arguments", () => text(new Deno.Command("printf", { args: ["<%s>", "a b", "", "$x", "'q'"] }).outputSync().stdout));
await attempt("env", () => text(sh("echo $X $PROBE", { env: { X: "1" } }).outputSync().stdout));
await attempt("clearEnv", () => text(sh("env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= | sort", { env: { X: "1", PATH: "/usr/bin:/bin" }, clearEnv: true }).outputSync().stdout));
await attempt("cwd", () => text(new Deno.Command("pwd", { cwd: "/" }).outputSync().stdout));
await attempt("cwd as a URL", () => text(new Deno.Command("pwd", { cwd: new URL("file:///usr") }).outputSync().stdout));
await attempt("stdin is empty", async () => shown(await new Deno.Command("cat").output()));
await attempt("stderr only", async () => text((await sh("echo e >&2", { stdout: "null" }).output()).stderr));
await attempt("what was not piped", async () => (await sh("true", { stdout: "null" }).output()).stdout);
await attempt("what was not piped, at once", () => sh("true", { stderr: "inherit" }).outputSync().stderr);
await attempt("piped stdin of output", async () => await sh("true", { stdin: "piped" }).output());
await attempt("piped stdin of outputSync", () => sh("true", { stdin: "piped" }).outputSync());
await attempt("inherited", async () => (await sh("echo straight through", { stdout: "inherit" }).output()).code);
await attempt("uid and gid", async () => text((await new Deno.Command("id", { uid: 1, gid: 2 }).output()).stdout).split(" ").slice(0, 2));
await attempt("binary", async () => (await sh("printf '\\377\\000\\001'").output()).stdout);
await attempt("much", async () => (await sh("head -c 1000000 /dev/zero").output()).stdout.length);
await attempt("much at once", () => sh("head -c 1000000 /dev/zero").outputSync().stdout.length);

Deno.writeTextFileSync("plain", "no program");
Deno.mkdirSync("folder");
for (const command of ["no-such-program", "./plain", "./folder", "/no/such/program", "./missing"]) {
  const here = (work: () => unknown) => async () => {
    try {
      return await work();
    } catch (error) {
      (error as Error).message = (error as Error).message.replace(Deno.cwd(), "HERE");
      throw error;
    }
  };
  await attempt(`output of ${command}`, here(() => new Deno.Command(command).output()));
  await attempt(`outputSync of ${command}`, here(() => new Deno.Command(command).outputSync()));
  await attempt(`spawn of ${command}`, here(() => new Deno.Command(command).spawn()));
}
await attempt("no such cwd", () => new Deno.Command("true", { cwd: "/nonexistent" }).spawn());

const child = sh("cat; echo done >&2", { stdin: "piped", stdout: "piped", stderr: "piped" }).spawn();
await attempt("pid", () => child.pid > 1);
const writer = child.stdin.getWriter();
await writer.write(bytes("through "));
await writer.write(bytes("a pipe"));
await writer.close();
await attempt("stdout", () => child.stdout.text());
await attempt("stderr", async () => text(new Uint8Array(await child.stderr.arrayBuffer())));
await attempt("status", () => child.status);
await attempt("kill of what has ended", () => child.kill());
await attempt("json", () => sh(`echo '{"a":1}'`, { stdout: "piped" }).spawn().stdout.json());
await attempt("bytes", async () => text(await sh("echo b", { stdout: "piped" }).spawn().stdout.bytes()));
await attempt("as a stream", async () => {
  const lines = sh("echo 1; echo 2", { stdout: "piped" }).spawn().stdout.pipeThrough(new TextDecoderStream());
  return (await Array.fromAsync(lines)).join("");
});
await attempt("output of a child", async () => shown(await sh("echo o; echo e >&2", { stdout: "piped", stderr: "piped" }).spawn().output()));
await attempt("what is not piped", () => sh("true").spawn().stdout);
await attempt("stdin that is not piped", () => sh("true").spawn().stdin);
await attempt("pipeTo", async () => {
  const from = sh("printf 'b\\na\\n'", { stdout: "piped" }).spawn();
  const to = new Deno.Command("sort", { stdin: "piped", stdout: "piped" }).spawn();
  await from.stdout.pipeTo(to.stdin);
  return await to.stdout.text();
});
for (const signal of [undefined, "SIGTERM", "SIGKILL", "SIGUSR1"] as const) {
  await attempt(`kill ${signal}`, async () => {
    const sleeper = new Deno.Command("sleep", { args: ["100"] }).spawn();
    sleeper.kill(signal);
    return await sleeper.status;
  });
}
await attempt("signal", async () => {
  const { code, signal } = await new Deno.Command("sleep", { args: ["100"], signal: AbortSignal.timeout(20) }).output();
  return [code, signal];
});
await attempt("dispose", async () => {
  let status: Promise<Deno.CommandStatus>;
  {
    await using sleeper = new Deno.Command("sleep", { args: ["100"] }).spawn();
    status = sleeper.status;
  }
  return (await status).signal;
});
await attempt("ref and unref", async () => {
  const one = sh("exit 5").spawn();
  one.unref();
  one.ref();
  return (await one.status).code;
});
await attempt("spawn", async () => (await Deno.spawn("sh", ["-c", "exit 6"]).status).code);
await attempt("spawnAndWait", async () => shown(await Deno.spawnAndWait("sh", ["-c", "echo $Y"], { env: { Y: "7" } })));
await attempt("spawnAndWaitSync", () => shown(Deno.spawnAndWaitSync("echo", { args: ["8"] })));
await attempt("ChildProcess", () => child instanceof Deno.ChildProcess);
new Deno.Command("sleep", { args: ["100"], detached: true }).spawn().kill();
