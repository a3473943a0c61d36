/** Random file operations by several processes, with power cuts, against a model (test/campaign/model.ts runs it for long). */
import t from "tap";
import { cutUnderOperations } from "../campaign/model.ts";
import { testbedImpossible } from "./testbed.ts";

const skip = testbedImpossible() ?? false;
t.setTimeout(400_000);

t.test(
  "random operations and power cuts: what was synced is there, in order, and on both",
  { skip },
  async (t) => {
    const seed = Date.now() % 1_000_000;
    const tell = (line: string): void => t.comment(line);
    t.comment(
      await cutUnderOperations({
        seed,
        durability: "fsync",
        cuts: ["prim", "second alone"],
        workers: 2,
        tell,
      }),
    );
    t.pass("every round was as it must be");
  },
);
