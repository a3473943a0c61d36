import { attempt } from "./lib/attempt.ts";

const mode = (path: string) => (Deno.statSync(path).mode! & 0o7777).toString(8);
const byName = (a: Deno.DirEntry, b: Deno.DirEntry) => (a.name < b.name ? -1 : 1);
await attempt("mkdir", () => Deno.mkdir("d"));
await attempt("mkdir again", () => Deno.mkdir("d"));
await attempt("mkdirSync again", () => Deno.mkdirSync("d"));
await attempt("recursive again", () => Deno.mkdir("d", { recursive: true }));
await attempt("below none", () => Deno.mkdir("x/y"));
await attempt("below none at once", () => Deno.mkdirSync("x/y"));
await attempt("recursive", () => Deno.mkdirSync("d/e/f", { recursive: true }));
await attempt("mode", () => (Deno.mkdirSync("m", { mode: 0o700 }), mode("m")));
Deno.writeTextFileSync("d/file", "x");
Deno.symlinkSync("file", "d/link");
await attempt("over a file", () => Deno.mkdir("d/file", { recursive: true }));
await attempt("below a file", () => Deno.mkdirSync("d/file/x"));
await attempt("readDir", async () => (await Array.fromAsync(Deno.readDir("d"))).sort(byName));
await attempt("readDirSync", () => [...Deno.readDirSync("d")].sort(byName).map((entry) => ({ ...entry })));
await attempt("empty", async () => [...Deno.readDirSync("m"), ...(await Array.fromAsync(Deno.readDir("m")))]);
for (const path of ["missing", "d/file", ""]) {
  await attempt(`readDir ${path}`, () => Array.fromAsync(Deno.readDir(path)));
  await attempt(`readDirSync ${path}`, () => [...Deno.readDirSync(path)]);
}
await attempt("makeTempDir", async () => {
  const path = await Deno.makeTempDir({ dir: "m", prefix: "p-", suffix: "-s" });
  const [first] = [...Deno.readDirSync("m")];
  const good = /^m\/p-[0-9a-f]{1,16}-s$/.test(path) && path === `m/${first!.name}`;
  const result = [good, mode(path)];
  Deno.removeSync(path);
  return result;
});
await attempt("makeTempDirSync", () => {
  const path = Deno.makeTempDirSync();
  Deno.removeSync(path);
  return path.startsWith("/tmp/");
});
await attempt("makeTempFile", async () => {
  const path = await Deno.makeTempFile({ dir: "." });
  const result = [/^\.\/[0-9a-f]{1,16}$/.test(path), mode(path), Deno.statSync(path).size];
  Deno.removeSync(path);
  return result;
});
await attempt("makeTempFileSync", () => {
  const path = Deno.makeTempFileSync({ prefix: "pre", suffix: ".txt" });
  Deno.removeSync(path);
  return /^\/tmp\/pre[0-9a-f]{1,16}\.txt$/.test(path);
});
await attempt("makeTempDir nowhere", () => Deno.makeTempDir({ dir: "none" }));
await attempt("makeTempFileSync nowhere", () => Deno.makeTempFileSync({ dir: "none" }));
await attempt("makeTempFile with a slash", () => Deno.makeTempFile({ dir: ".", prefix: "a/b" }));
await attempt("cwd", () => Deno.cwd().split("/").at(-1));
await attempt("chdir", () => (Deno.chdir("d"), Deno.cwd().split("/").slice(-2)));
await attempt("chdir to a URL", () => (Deno.chdir(new URL("..", `file://${Deno.cwd()}/`)), Deno.cwd().endsWith("/d")));
await attempt("chdir to none", () => Deno.chdir("none"));
await attempt("chdir to a file", () => Deno.chdir("d/file"));
