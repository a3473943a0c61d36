/**
 * Builds `dist/holdfast`: one self-contained binary. `--if-stale` does nothing when no source is newer than it.
 */
import { existsSync, mkdirSync, statSync } from "node:fs";
import { Glob } from "bun";

const outfile = "dist/holdfast";
/** Worker files must be entry points of their own, or the binary cannot start them. */
const entrypoints = ["core/cli/main.ts", "core/filesystem/pool_worker.ts"];
const sources = new Glob("{build.ts,package-lock.json,{core,hooks,modules,templates}/**}");

/** True when every source is older than the binary. */
function isFresh(): boolean {
  if (!existsSync(outfile)) return false;
  const built = statSync(outfile).mtimeMs;
  for (const file of sources.scanSync(".")) if (statSync(file).mtimeMs > built) return false;
  return true;
}

if (process.argv.includes("--if-stale") && isFresh()) process.exit(0);
mkdirSync("dist", { recursive: true });
const result = await Bun.build({
  entrypoints: entrypoints.filter((file) => existsSync(file)),
  minify: { whitespace: true, syntax: true, identifiers: false },
  sourcemap: "inline",
  format: "esm",
  // The current directory of an administrator must never run code in a root daemon: no .env, no bunfig.toml.
  compile: { outfile, autoloadDotenv: false, autoloadBunfig: false, autoloadTsconfig: false, autoloadPackageJson: true },
});
for (const log of result.logs) console.error(log);
if (!result.success) process.exit(1);
console.log(`${outfile}: ${(statSync(outfile).size / 1e6).toFixed(0)} MB`);
