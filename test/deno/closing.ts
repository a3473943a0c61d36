// Standard streams that the script closes itself; the next file that it opens is not mistaken for one of them.
import { attempt, bytes } from "./lib/attempt.ts";

await attempt("close of standard input", () => Deno.stdin.close());
await attempt("read", () => Deno.stdin.read(new Uint8Array(1)));
await attempt("readSync", () => Deno.stdin.readSync(new Uint8Array(1)));
await attempt("close again", () => Deno.stdin.close());
Deno.stdout.close();
using file = await Deno.create("file");
const said: string[] = [];
for (const work of [
  () => Deno.stdout.write(bytes("lost")),
  () => Deno.stdout.writeSync(bytes("lost")),
  () => console.log("lost"),
  () => Deno.stdout.close(),
])
  try {
    said.push(String(await work()));
  } catch (error) {
    said.push(String(error));
  }
Deno.writeTextFileSync("said", said.join("\n"));
