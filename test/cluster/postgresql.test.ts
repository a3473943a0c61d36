/**
 * A PostgreSQL under load survives the loss of its machine, three times in a row (`npm run campaign -- postgresql` for more).
 */
import t from "tap";
import { cutPostgresql, postgresqlImpossible } from "../campaign/postgresql.ts";
import { testbedImpossible } from "./testbed.ts";

t.setTimeout(400_000);
const skip = testbedImpossible() ?? postgresqlImpossible() ?? false;

t.test(
  "PostgreSQL: every transaction that a client saw committed is there after each power cut",
  { skip, timeout: 300_000 },
  async (t) => {
    const seed = Date.now() % 1_000_000;
    const figures = await cutPostgresql({ cuts: 3, seed, tell: (line) => t.comment(line) });
    t.pass(figures);
  },
);
