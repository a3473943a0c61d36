/**
 * Trap 36: nothing in the environment makes the product run other code.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import t from "tap";

const repository = resolve(import.meta.dir, "../..");
const binary = process.env["HOLDFAST_BINARY"] ?? join(repository, "dist/holdfast");
const scratch = mkdtempSync(join(tmpdir(), "holdfast-environment-"));
t.teardown(() => rmSync(scratch, { recursive: true }));

const foreign = join(scratch, "foreign.ts");
writeFileSync(foreign, 'console.log("foreign code ran")');
const script = join(scratch, "script.ts");
writeFileSync(script, 'console.log(Bun.spawnSync(["/usr/bin/env"]).stdout.toString())');

function run(command: string[], variables: Record<string, string>): string {
  const env = { PATH: process.env["PATH"]!, HOME: scratch, ...variables };
  const { stdout, stderr } = Bun.spawnSync(command, { env, cwd: scratch });
  return stdout.toString() + stderr.toString();
}

t.test("trap 36: children do not inherit variables that choose code", async (t) => {
  const command = [process.execPath, join(repository, "core/cli/main.ts"), "run", script];
  const seen = run(command, { LD_AUDIT_X: "1", NODE_TLS_REJECT_UNAUTHORIZED: "0", BUN_X: "1", KEPT: "yes" });
  t.match(seen, "KEPT=yes");
  t.notMatch(seen, /LD_AUDIT_X|NODE_TLS|BUN_X/);
});

const skip = existsSync(binary) ? false : "no dist/holdfast: npm run build makes it";
t.test("trap 36: the binary obeys none of the runtime's own variables", { skip }, async (t) => {
  for (const variables of [
    { BUN_OPTIONS: `--preload ${foreign}` },
    { BUN_INSPECT_PRELOAD: foreign },
    { NODE_OPTIONS: `--require ${foreign}` },
  ]) {
    const seen = run([binary, "--version"], variables);
    t.match(seen, /^holdfast \d/);
    t.notMatch(seen, "foreign code ran");
  }
  t.notMatch(
    run([binary, "-e", 'console.log("foreign code ran")'], { BUN_BE_BUN: "1" }),
    "foreign code ran\n",
  );
});

t.test("trap 36: the current directory holds nothing that runs", { skip }, async (t) => {
  writeFileSync(join(scratch, "bunfig.toml"), `preload = ["${foreign}"]\n`);
  writeFileSync(join(scratch, ".env"), "HOLDFAST_VAR=/from/dotenv\n");
  const seen = run([binary, "status"], {});
  t.notMatch(seen, "foreign code ran");
  t.notMatch(seen, "/from/dotenv");
});
