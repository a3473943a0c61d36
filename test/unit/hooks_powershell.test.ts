/**
 * `powershell` as a process: what reaches powershell.exe, here a stand-in that decodes its argument as Microsoft documents it.
 */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { powershell } from "../../hooks/sdk/mod.ts";

const scratch = mkdtempSync(join(tmpdir(), "holdfast-powershell-"));
t.teardown(() => rmSync(scratch, { recursive: true }));
writeFileSync(
  join(scratch, "powershell.exe"),
  `#!${process.execPath}
const given = process.argv.slice(2);
const script = Buffer.from(given.at(-1), "base64").toString("utf16le");
console.log(JSON.stringify({ flags: given.slice(0, -1), script }));
if (script.includes("Stop-VM")) {
  console.error("Stop-VM : no such machine");
  process.exit(1);
}
`,
);
chmodSync(join(scratch, "powershell.exe"), 0o755);
const PATH = `${scratch}:${process.env["PATH"]}`;

t.test("a line arrives whole, its values quoted, and a failing cmdlet is a failure", async (t) => {
  const name = "Büro's ‘vm’ $(rm) `n\"";
  const given = (await powershell`
    Get-VM -Name ${name}
    Get-VM ${["a", "b c"]}`
    .env({ PATH })
    .json()) as { flags: string[]; script: string };
  t.equal(given.flags.at(-1), "-EncodedCommand");
  t.ok(given.flags.includes("-NonInteractive"));
  const [prelude, first, second] = given.script.split("\n");
  t.match(prelude, /^\$ErrorActionPreference = 'Stop';/);
  t.equal(first, "Get-VM -Name 'Büro''s ‘‘vm’’ $(rm) `n\"'");
  t.equal(second?.trim(), "Get-VM @('a', 'b c')");
});

t.test("the error says what PowerShell said", async (t) => {
  const failing = powershell`Get-VM | Stop-VM`.env({ PATH }).quiet();
  await t.rejects(
    Promise.resolve(failing),
    /`Get-VM \| Stop-VM` failed with exit status 1: Stop-VM : no such machine/,
  );
  t.throws(() => powershell`Get-VM ${"a\0b"}`, /NUL/);
});
