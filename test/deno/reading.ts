import { attempt } from "./lib/attempt.ts";

Deno.writeTextFileSync("a.txt", "hällo\n");
Deno.mkdirSync("d");
Deno.symlinkSync("loop", "loop");
const bad = ["missing", "a.txt/b", "d", "loop", "", "a\0b"];
await attempt("text", () => Deno.readTextFile("a.txt"));
await attempt("text at once", () => Deno.readTextFileSync("a.txt"));
await attempt("bytes", () => Deno.readFile("a.txt"));
await attempt("bytes at once", () => Deno.readFileSync(new URL(`file://${Deno.cwd()}/a.txt`)));
await attempt("empty", () => (Deno.writeTextFileSync("e", ""), Deno.readFileSync("e")));
await attempt("another URL", () => Deno.readTextFile(new URL("https://example.org/")));
await attempt("not UTF-8", () => {
  Deno.writeFileSync("n", new Uint8Array([0x61, 0xff, 0x62]));
  return Deno.readTextFileSync("n");
});
await attempt("a byte order mark", () => {
  Deno.writeFileSync("bom", new Uint8Array([0xef, 0xbb, 0xbf, 0x61]));
  return [Deno.readTextFileSync("bom").length, Deno.readTextFileSync("bom")];
});
for (const path of bad) {
  await attempt(`readFile ${path}`, () => Deno.readFile(path));
  await attempt(`readTextFile ${path}`, () => Deno.readTextFile(path));
  await attempt(`readFileSync ${path}`, () => Deno.readFileSync(path));
  await attempt(`readTextFileSync ${path}`, () => Deno.readTextFileSync(path));
}
const controller = new AbortController();
controller.abort(new Error("no longer wanted"));
await attempt("aborted", () => Deno.readTextFile("a.txt", { signal: controller.signal }));
await attempt("aborted bytes", () => Deno.readFile("a.txt", { signal: controller.signal }));
await attempt("with a signal", () => Deno.readTextFile("a.txt", { signal: new AbortController().signal }));
