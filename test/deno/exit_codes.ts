import { attempt } from "./lib/attempt.ts";

await attempt("a text", () => {
  Deno.exitCode = "x" as unknown as number;
});
await attempt("a fraction", () => {
  Deno.exitCode = 1.5;
});
await attempt("nothing changed", () => Deno.exitCode);
await attempt("set", () => {
  Deno.exitCode = 2;
  return Deno.exitCode;
});
