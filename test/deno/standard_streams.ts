// The suite gives "line 1\nline 2\nlast" on standard input.
import { attempt, bytes, text } from "./lib/attempt.ts";

await attempt("read", async () => {
  const into = new Uint8Array(7);
  return [await Deno.stdin.read(into), text(into)];
});
await attempt("readSync", () => {
  const into = new Uint8Array(7);
  return [Deno.stdin.readSync(into), text(into)];
});
await attempt("readable", async () => await new Response(Deno.stdin.readable).text());
await attempt("terminals", () => [Deno.stdout.isTerminal(), Deno.stderr.isTerminal()]);
await Deno.stdout.write(bytes("write\n"));
Deno.stdout.writeSync(bytes("writeSync\n"));
console.log("between");
const writer = Deno.stdout.writable.getWriter();
await writer.write(bytes("writable\n"));
writer.releaseLock();
console.log("order is kept");
new Deno.Command("echo", { args: ["by a child"], stdout: "inherit" }).outputSync();
Deno.stderr.writeSync(bytes("on stderr\n"));
await attempt("stderr", () => Deno.stderr.write(bytes("more\n")));
await attempt("into nothing", async () => [await Deno.stdout.write(new Uint8Array()), Deno.stdout.writeSync(new Uint8Array())]);
await attempt("the three", () => [Deno.stdout, Deno.stderr]);
Deno.stderr.close();
await attempt("closed", () => Deno.stderr.writeSync(bytes("x")));
