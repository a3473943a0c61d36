/**
 * Trap 29: the kernel owns the modification time of cached files, and does not tell it when the one that it knows is the same. What an
 * application saw must be there after the mount is gone.
 */
import { closeSync, fsyncSync, openSync, readdirSync, statSync, writeFileSync, writeSync } from "node:fs";
import t from "tap";
import { cannotMount, mountLocally, removeMounted } from "../fixtures/mounted.ts";

const times = (path: string): Record<string, bigint> =>
  Object.fromEntries(
    readdirSync(path)
      .filter((name) => name !== ".holdfast")
      .map((name) => [name, statSync(`${path}/${name}`, { bigint: true }).mtimeNs]),
  );

for (const durability of ["fsync", "write"] as const)
  t.test(
    `trap 29: modification times stay, durability: ${durability}`,
    { skip: cannotMount ?? false },
    async (t) => {
      const mount = await mountLocally({ durability });
      t.teardown(async () => {
        await mount.kill();
        removeMounted(mount.path);
      });
      for (let round = 0; round < 3; round++)
        for (let i = 0; i < 30; i++) writeFileSync(`${mount.path}/written${i}`, `round ${round}`);
      for (let i = 0; i < 10; i++) {
        const fd = openSync(`${mount.path}/synced${i}`, "w");
        for (let part = 0; part < 3; part++) {
          writeSync(fd, "part");
          fsyncSync(fd);
        }
        closeSync(fd);
      }
      const held = openSync(`${mount.path}/held`, "w");
      writeSync(held, "still open");
      const seen = times(mount.path);
      await Bun.sleep(2500);
      t.same(times(mount.path), seen, "they do not change by themselves");
      closeSync(held);
      await mount.stop();
      t.same(times(mount.path), seen, "the directory has what the mount had");
    },
  );
