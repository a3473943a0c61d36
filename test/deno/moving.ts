// remove, rename, copyFile, link, symlink, readLink, realPath.
import { attempt } from "./lib/attempt.ts";

const here = Deno.cwd();
const shown = (path: string) => path.replace(here, "HERE");
Deno.writeTextFileSync("f", "file", { mode: 0o750 });
Deno.mkdirSync("d/e", { recursive: true });
Deno.writeTextFileSync("d/e/x", "x");
for (const sync of [false, true]) {
  const call = (name: string, ...args: unknown[]) =>
    attempt(`${name}${sync ? "Sync" : ""} ${args.join(" ")}`, () =>
      (Deno as unknown as Record<string, (...args: unknown[]) => unknown>)[`${name}${sync ? "Sync" : ""}`]!(...args),
    );
  const suffix = sync ? "2" : "1";
  await call("remove", "missing");
  await call("remove", "d");
  await call("remove", "f/x");
  await call("rename", "missing", "y");
  await call("rename", "f", "d");
  await call("rename", "f", "no/y");
  await call("copyFile", "missing", "y");
  await call("copyFile", "f", "no/y");
  await call("copyFile", "d", "y");
  await call("copyFile", "f", `copy${suffix}`);
  await call("symlink", "f", `link${suffix}`);
  await call("symlink", "a", "f");
  await call("symlink", "nowhere", `dangling${suffix}`);
  await call("link", "f", `hard${suffix}`);
  await call("link", "missing", "y");
  await call("link", "f", "d");
  await call("readLink", `link${suffix}`);
  await call("readLink", "f");
  await call("readLink", "missing");
  await call("realPath", "missing");
  await call("realPath", `dangling${suffix}`);
  await call("remove", `dangling${suffix}`);
}
// Named so that the suite's coverage sees them too.
await attempt("realPath", async () => [shown(await Deno.realPath("link1")), shown(Deno.realPathSync("d/../link2"))]);
await attempt("readLink", async () => [await Deno.readLink("link1"), Deno.readLinkSync("link2")]);
await attempt("copied mode", () => (Deno.statSync("copy1").mode! & 0o777).toString(8));
await attempt("copied onto", () => (Deno.writeTextFileSync("o", "longer text"), Deno.copyFileSync("f", "o"), Deno.readTextFileSync("o")));
await attempt("copied", async () => (await Deno.copyFile("copy2", "copy3"), Deno.readTextFileSync("copy3")));
await attempt("hard", () => Deno.statSync("f").nlink);
await attempt("links", async () => (await Deno.link("f", "h3"), Deno.linkSync("f", "h4"), Deno.statSync("f").nlink));
await attempt("symlinks", async () => (await Deno.symlink("d", "sd", { type: "dir" }), Deno.symlinkSync("d", "sd2")));
await attempt("removed link", async () => (await Deno.remove("sd"), Deno.removeSync("sd2"), Deno.statSync("d").isDirectory));
await attempt("removed tree", () => Deno.remove("d", { recursive: true }));
await attempt("removed tree again", () => Deno.removeSync("d", { recursive: true }));
await attempt("renamed", async () => (await Deno.rename("copy1", "r1"), Deno.renameSync("r1", "r2"), Deno.readTextFileSync("r2")));
await attempt("renamed onto", () => (Deno.renameSync("r2", "o"), Deno.readTextFileSync("o")));
