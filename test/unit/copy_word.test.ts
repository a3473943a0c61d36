/** Trap 9: a disk that hangs is not waited for where fencing or an election would be. */
import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { readCopyWord } from "../../core/filesystem/copy/copy_record.ts";

t.test("trap 9: what a copy says of itself is read, but not for ever", async (t) => {
  const base = mkdtempSync(join(tmpdir(), "holdfast-copy-"));
  t.teardown(() => rmSync(base, { recursive: true }));
  const word = { id: "this copy", counter: 7, peer: { id: "that copy", counter: 7 } };
  const record = join(base, "data/.holdfast/copy");
  mkdirSync(join(base, "data/.holdfast"), { recursive: true });
  writeFileSync(join(base, "copy"), JSON.stringify(word));
  writeFileSync(record, JSON.stringify(word));
  t.same(await readCopyWord(base, [join(base, "data")]), word);
  writeFileSync(record, JSON.stringify({ ...word, counter: 3 }));
  t.match(
    await readCopyWord(base, [join(base, "data")]),
    { counter: 3 },
    "data that were put back are behind",
  );
  rmSync(record);
  // Opened for reading, a pipe without a writer hangs as a dead disk does.
  spawnSync("mkfifo", [record]);
  t.equal(await readCopyWord(base, [join(base, "data")], 50), null);
  closeSync(openSync(record, "w"));
});
