/** What PRIM answers a copy that wants to follow: whether it may, and how much of it is copied. */
import type { Generations } from "../../failover/types.ts";
import { relation } from "../../replication/generations.ts";
import type { Marks } from "../../replication/marks.ts";
import { type CopyWord, countersOf } from "../copy/copy_record.ts";
import { type FollowerHello, type SourceHello, wireGenerations } from "../stream/hello.ts";

/** What PRIM knows of its own copy. */
export interface OwnCopy {
  generations: Generations;
  word: CopyWord;
  /** How many directories the module replicates. */
  directories: number;
  marks: Marks;
}

/** Compares both copies. `log` hears what administrators should. */
export function answerTo(
  hello: FollowerHello,
  own: OwnCopy,
  log: (level: "info" | "warning", text: string) => void,
): SourceHello {
  const generations = wireGenerations(own.generations);
  const answer = (mode: SourceHello["mode"], to: SourceHello["relation"], detail: string): SourceHello => ({
    generations,
    mode,
    relation: to,
    detail,
    copy: own.word,
  });
  if (hello.paths !== own.directories)
    return answer(
      "refused",
      "unrelated",
      `this node replicates ${own.directories} directories, the peer ${hello.paths}: apply the module again`,
    );
  if (hello.full) return answer("full", "ancestor", "a full copy was asked for");
  const lineage = (of: Generations) =>
    ({ generations: of, consistency: of.current === "" ? "blank" : "uptodate" }) as const;
  const points = countersOf(own.word, hello.copy);
  const verdict = relation(
    { ...lineage(own.generations), ...points.mine },
    { ...lineage(hello.generations), ...points.theirs },
  );
  if (verdict.restored === "theirs") log("warning", `everything is copied: ${verdict.why}`);
  if (hello.generations.current === "" && !verdict.full) log("info", verdict.why);
  const everything = own.marks.owesEverything;
  const amount = verdict.full || everything ? "full" : "incremental";
  switch (verdict.relation) {
    case "equal":
      return answer(isClean(own.marks) ? "equal" : everything ? "full" : "incremental", "equal", verdict.why);
    case "theyAreAncestor":
      return answer(amount, "ancestor", verdict.why);
    case "splitBrain":
      return answer(hello.sacrifice ? amount : "refused", "split-brain", verdict.why);
    default:
      return answer(
        "refused",
        "unrelated",
        verdict.restored === "mine"
          ? `${verdict.why}; what it lacks is on the peer: make that node the primary, or have it take this copy with second --full`
          : verdict.why,
      );
  }
}

function isClean(marks: Marks): boolean {
  if (marks.owesEverything || marks.dirtyRanges.length > 0) return false;
  return marks.dirtyDirectories().next().done === true && marks.dirtyObjects().next().done === true;
}
