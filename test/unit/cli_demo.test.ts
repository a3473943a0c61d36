/**
 * What the demo trusts in the end: its own comparison finds every kind of difference, and its timeline tells what was.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { differences, fingerprint, storedBytes } from "../../core/cli/demo/compare.ts";
import { Display } from "../../core/cli/demo/display.ts";
import { demoImpossible } from "../../core/cli/demo/requirements.ts";
import { Output } from "../../core/cli/output.ts";

const scratch = mkdtempSync(join(tmpdir(), "holdfast-demo-test-"));
t.teardown(() => rmSync(scratch, { recursive: true }));
const one = join(scratch, "one");
mkdirSync(join(one, "inner", ".holdfast"), { recursive: true });
mkdirSync(join(one, ".holdfast"));
writeFileSync(join(one, "inner", "rows.db"), "rows");
writeFileSync(join(one, ".holdfast", "own"), "not compared");
symlinkSync("inner", join(one, "link"));

/** What differs after `change` was made to a copy. */
function after(change: (copy: string) => void): string[] {
  const copy = mkdtempSync(join(scratch, "copy-"));
  Bun.spawnSync(["cp", "-a", `${one}/.`, copy]);
  change(copy);
  return differences(fingerprint(one), fingerprint(copy));
}

t.test("an equal copy has no difference, and the product's own folder is left out", async (t) => {
  t.strictSame(
    after((copy) => writeFileSync(join(copy, ".holdfast", "own"), "other")),
    [],
  );
});

t.test("every kind of difference is found", async (t) => {
  const rows = (copy: string) => join(copy, "inner", "rows.db");
  t.strictSame(
    after((copy) => chmodSync(rows(copy), 0o600)),
    ["inner/rows.db"],
    "mode",
  );
  t.strictSame(
    after((copy) => utimesSync(rows(copy), 5, 5)),
    ["inner/rows.db"],
    "modification time",
  );
  t.strictSame(
    after((copy) => utimesSync(join(copy, "inner"), 5, 5)),
    ["inner"],
    "a directory's",
  );
  const written = after((copy) => {
    writeFileSync(rows(copy), "ROWS");
    utimesSync(rows(copy), 1, 1);
    utimesSync(rows(one), 1, 1);
  });
  t.ok(written.includes("inner/rows.db"), "content");
  t.ok(after((copy) => rmSync(rows(copy))).includes("inner/rows.db"), "missing");
  t.ok(after((copy) => writeFileSync(join(copy, "inner", "new"), "")).includes("inner/new"), "new");
});

t.test("stored bytes are those of the files", async (t) => {
  t.equal(storedBytes(join(one, "inner")), 4);
});

t.test("the timeline has a row for each node and one for the client", async (t) => {
  const display = new Display(new Output(true));
  display.state("n1", "PRIM", "");
  display.answered();
  const text = display.timeline();
  t.match(text, /^ {2}n1 +/m);
  t.match(text, /^ {2}client +.*█/m);
});

t.test("what is missing for the demo is one line that says what to type", async (t) => {
  const impossible = demoImpossible();
  if (impossible === null) return t.pass("nothing is missing here");
  t.notMatch(impossible, "\n");
  t.match(impossible, /type: |--privileged/);
});
