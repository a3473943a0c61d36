/** Every rule of the conformance suite, on the bare file system and through the mount, with either durability. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { rules } from "../conformance/posix.ts";
import { cannotMount, mountLocally, removeMounted } from "../fixtures/mounted.ts";

process.umask(0o022);

/** Runs all rules below `top`, each in a directory of its own. */
function hold(tt: Pick<typeof t, "pass" | "fail">, top: string): void {
  // What the rules do as other users must be able to get there.
  chmodSync(top, 0o755);
  for (const [index, [name, rule]] of Object.entries(rules).entries()) {
    const directory = join(top, `rule-${index}`);
    mkdirSync(directory);
    try {
      rule(directory);
      tt.pass(name);
    } catch (error) {
      tt.fail(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
    rmSync(directory, { recursive: true, force: true });
  }
}

const skip = cannotMount ?? false;
await t.test("the bare file system keeps the rules", { skip }, async (tt) => {
  const top = mkdtempSync(join(tmpdir(), `holdfast-bare-${process.pid}-`));
  hold(tt, top);
  rmSync(top, { recursive: true, force: true });
});

for (const durability of ["fsync", "write"] as const) {
  await t.test(
    `traps 27 and 28: a mount with durability ${durability} keeps the rules`,
    { skip },
    async (tt) => {
      const mounted = await mountLocally({ durability });
      tt.teardown(() => removeMounted(mounted.path));
      hold(tt, mounted.path);
      tt.equal(await mounted.stop(), "");
    },
  );
}
