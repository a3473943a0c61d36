import { attempt } from "./lib/attempt.ts";

await attempt("setRaw", () => Deno.stdin.setRaw(true));
await attempt("isTerminal", () => Deno.stdin.isTerminal());
await attempt("itself", () => Deno.stdin);
const lines: string[] = [];
for await (const chunk of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) lines.push(chunk);
console.log(lines.join("").split("\n"));
await attempt("closed", () => Deno.stdin.readSync(new Uint8Array(1)));
