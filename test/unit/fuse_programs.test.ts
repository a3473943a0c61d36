/** Real programs in a mounted directory; what they leave must be on the disk underneath, byte for byte. */

import { Database } from "bun:sqlite";
import { execFileSync, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { cannotMount, mountLocally, removeMounted } from "../fixtures/mounted.ts";

const skip = cannotMount ?? false;
const source = new URL("../../node_modules/valibot", import.meta.url).pathname;

function sh(directory: string, line: string): string {
  return execFileSync("sh", ["-ec", line], {
    cwd: directory,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
}

const has = (program: string): boolean => spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;

const programs: Record<string, (directory: string) => void> = {
  git: (d) => {
    const config = "git config user.email a@example.org; git config user.name A";
    sh(
      d,
      `git init -q; ${config}; for i in $(seq 200); do echo $i > f$i; done; git add .; git commit -qm one; git gc -q; git fsck --strict`,
    );
    if (sh(d, "git status --porcelain") !== "") throw new Error("the work tree changed by itself");
  },
  tar: (d) => void sh(d, `tar -C ${source} -cf - . | tar -xf -; diff -r ${source} .`),
  rsync: (d) =>
    void sh(
      d,
      `rsync -aHAX ${source}/ copy/; rsync -aHAX copy/ again/; diff -r copy again; test -z "$(rsync -aHAXni --checksum copy/ again/)"`,
    ),
  fio: (d) => {
    const verify = "--name=v --bs=4k --size=16m --verify=crc32c --minimal";
    sh(
      d,
      `fio ${verify} --rw=randwrite --filename=buffered --fsync=64; fio ${verify} --rw=randrw --filename=direct --direct=1; fio ${verify} --rw=randwrite --ioengine=mmap --filename=mapped`,
    );
  },
};

await t.test("real programs run in a mounted directory", { skip }, async (tt) => {
  const path = fs.mkdtempSync(join(tmpdir(), `holdfast-mount-${process.pid}-`));
  tt.teardown(() => removeMounted(path));
  const mounted = await mountLocally({ path });
  for (const [name, work] of Object.entries(programs)) {
    if (!has(name)) {
      tt.comment(`${name} is not installed: not tried`);
      continue;
    }
    fs.mkdirSync(`${path}/${name}`);
    tt.doesNotThrow(() => work(`${path}/${name}`), name);
  }
  for (const mode of ["wal", "delete"]) {
    const database = new Database(`${path}/${mode}.db`);
    database.run(`pragma journal_mode=${mode}`);
    database.run("create table t(a)");
    for (let i = 0; i < 200; i++) database.run("insert into t values(randomblob(1000))");
    tt.same(database.query("pragma integrity_check").get(), { integrity_check: "ok" });
    database.close();
  }
  const digest =
    "find . -name .holdfast -prune -o -printf '%p %y %m %U %G %T@ %l\\n' | sort; find . -name .holdfast -prune -o -type f -print0 | sort -z | xargs -0 sha256sum";
  const through = sh(path, digest);
  tt.equal(await mounted.stop(), "");
  // The top's own time changed when our directory was made in it.
  tt.equal(sh(path, digest), through);
});
