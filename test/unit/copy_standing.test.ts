/** What SECOND's copy counts as, and when what it wrote alone is kept aside before it is overwritten (G5). */
import t from "tap";
import { CopyStanding } from "../../core/filesystem/second/copy_standing.ts";
import type { SourceHello } from "../../core/filesystem/stream/hello.ts";

const generations = { current: "g2", parted: "g1", history: [] };

function answer(mode: SourceHello["mode"], relation: SourceHello["relation"]): SourceHello {
  return { generations, mode, relation, detail: "", copy: { id: "c", counter: 0, peer: null } };
}

t.test(
  "what the loser of a split brain wrote is kept, once, also when a full copy was asked for",
  async (t) => {
    const saves = (full: boolean, sacrifice: boolean, hello: SourceHello): number => {
      const standing = new CopyStanding(generations, full, sacrifice);
      let saved = 0;
      for (let times = 0; times < 2; times++) standing.giveWay(hello, () => saved++);
      return saved;
    };
    t.equal(saves(false, true, answer("incremental", "split-brain")), 1);
    t.equal(
      saves(true, true, answer("full", "ancestor")),
      1,
      "the source says only that it copies everything",
    );
    t.equal(saves(false, true, answer("full", "ancestor")), 0, "it turned out to be no split brain");
    t.equal(saves(true, false, answer("full", "ancestor")), 0);
  },
);
