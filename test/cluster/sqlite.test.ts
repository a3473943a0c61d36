/**
 * SQLite survives the loss of its machine in both journal modes (`npm run campaign -- sqlite` for more).
 */
import t from "tap";
import { cutSqlite } from "../campaign/sqlite.ts";
import { testbedImpossible } from "./testbed.ts";

t.setTimeout(400_000);
const skip = testbedImpossible() ?? false;

for (const journal of ["wal", "delete"] as const)
  t.test(
    `SQLite, journal mode ${journal}: every acknowledged row is there after each power cut`,
    { skip, timeout: 200_000 },
    async (t) => {
      const seed = Date.now() % 1_000_000;
      const figures = await cutSqlite({ cuts: 2, seed, journal, tell: (line) => t.comment(line) });
      t.pass(figures);
    },
  );
