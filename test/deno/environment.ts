import { attempt } from "./lib/attempt.ts";

await attempt("get", () => Deno.env.get("PROBE"));
await attempt("get of none", () => Deno.env.get("NOT_SET"));
await attempt("has", () => [Deno.env.has("PROBE"), Deno.env.has("NOT_SET")]);
await attempt("set", () => (Deno.env.set("A_B", "1"), Deno.env.get("A_B")));
await attempt("set of a number", () => (Deno.env.set("A_B", 5 as unknown as string), Deno.env.get("A_B")));
await attempt("toObject", () => [Deno.env.toObject()["A_B"], Deno.env.toObject()["PROBE"]]);
await attempt("delete", () => (Deno.env.delete("A_B"), Deno.env.has("A_B")));
await attempt("empty name", () => Deno.env.get(""));
await attempt("bad name", () => Deno.env.get("A=B"));
await attempt("name with a NUL", () => Deno.env.has("A\0"));
await attempt("set with an empty name", () => Deno.env.set("", "x"));
await attempt("value with a NUL", () => Deno.env.set("A", "x\0y"));
Deno.env.set("FOR_CHILD", "seen");
const { stdout } = new Deno.Command("sh", { args: ["-c", "echo $FOR_CHILD"] }).outputSync();
await Deno.stdout.write(stdout);
