/**
 * Builds `dist/holdfast`: one self-contained binary. `--if-stale` does nothing when no source is newer than it.
 */
import { existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { Glob } from "bun";
import { makeTypeFiles } from "./modules/type_files/make.ts";

const outfile = "dist/holdfast";
/** Worker files must be entry points of their own, or the binary cannot start them. */
const entrypoints = ["core/cli/main.ts", "core/filesystem/loop/pool_worker.ts"];
const sources = new Glob("{build.ts,package-lock.json,{core,hooks,modules,templates}/**}");

/** True when every source is older than the binary. */
function isFresh(): boolean {
  if (!existsSync(outfile)) return false;
  const built = statSync(outfile).mtimeMs;
  for (const file of sources.scanSync(".")) if (statSync(file).mtimeMs > built) return false;
  return true;
}

/**
 * The runtime inside obeys variables that make the binary run other code before our first line (`BUN_OPTIONS=--preload …`)
 * or be no Holdfast at all (`BUN_BE_BUN=1`). Their names are blanked in the binary: no variable's name begins with NUL.
 */
function sealRuntimeVariables(file: string): void {
  const binary = readFileSync(file);
  for (const prefix of ["BUN_OPTIONS", "BUN_BE_BUN", "BUN_INSPECT"])
    for (let at = binary.indexOf(prefix); at >= 0; at = binary.indexOf(prefix, at)) binary[at] = 0;
  // A new file: whoever starts the binary meanwhile gets the whole of one.
  writeFileSync(`${file}.sealed`, binary, { mode: 0o755 });
  renameSync(`${file}.sealed`, file);
}

if (process.argv.includes("--if-stale") && isFresh()) process.exit(0);
makeTypeFiles("dist");
const result = await Bun.build({
  entrypoints: entrypoints.filter((file) => existsSync(file)),
  // Worker files are found in the binary by their path below this.
  root: ".",
  minify: { whitespace: true, syntax: true, identifiers: false },
  sourcemap: "inline",
  format: "esm",
  // The current directory of an administrator must never run code in a root daemon: no .env, no bunfig.toml.
  // Each process reads only the parts that it needs, compiled at build time: what starts often, a hook or a command, starts in half the time.
  splitting: true,
  bytecode: true,
  compile: {
    outfile,
    autoloadDotenv: false,
    autoloadBunfig: false,
    autoloadTsconfig: false,
    autoloadPackageJson: true,
  },
});
for (const log of result.logs) console.error(log);
if (!result.success) process.exit(1);
// The binary has its source maps inside; beside it, they are only left over.
for (const { path, kind } of result.outputs) if (kind === "sourcemap") rmSync(path);
sealRuntimeVariables(outfile);
console.log(`${outfile}: ${(statSync(outfile).size / 1e6).toFixed(0)} MB`);
