/**
 * Is what a node has after a power cut a moment of what the worker did? Names, attributes and links must be exactly those after some
 * number of its operations, not before what a sync had confirmed. Bytes may lag behind, as pages may: each must be one that the file
 * had since it was last synced.
 */
import { Model, type Range } from "./model.ts";
import { type Operation, operationsFrom } from "./operations.ts";
import { compareContent, compareTrees, copyTree, type Inode } from "./tree.ts";

/** What a worker did. */
export interface Work {
  seed: number;
  run: number;
  worker: number;
  /** Operations that had returned. One more may have begun. */
  done: number;
  /** Its tree when it began. */
  initial: Inode;
  durability: "fsync" | "write";
}

/**
 * `live`: nobody lost power, and nothing runs: all of it, exactly. `memory`: from what SECOND had in its hands. `disk`: from what was on
 * the disk of a node that lost its power too.
 */
export type Survived = "live" | "memory" | "disk";

export interface Verdict {
  /** Operations that are there. */
  found: number;
  /** What differs from the nearest moment; empty when the tree is such a moment. */
  differences: string[];
}

/** What a file was at one time. */
export interface Version {
  /** Number of the operation that made it. */
  at: number;
  content: Uint8Array;
}

/** What may have survived of each object, by serial number. */
interface History {
  versions: Map<number, Version[]>;
  /** No fewer operations than these can be there. */
  least: number;
}

/** Judges the tree that was found. */
export function judge(work: Work, found: Inode, survived: Survived): Verdict {
  const operations = firstOperations(work, work.done + 1);
  if (survived === "live") return judgeExactly(work, operations, found);
  const history = recall(work, operations, survived);
  const model = new Model(copyTree(work.initial));
  let best: Verdict | null = null;
  for (let count = 0; count <= operations.length; count++) {
    if (count > 0) model.apply(count - 1, operations[count - 1]!);
    if (count < history.least) continue;
    const ceiling = survived === "memory" ? count : operations.length;
    const differences = compareTrees(model.root, found, {
      fileTimes: false,
      // One more than the nearest so far has: what is cut short there must not pass for as near.
      most: best ? best.differences.length + 1 : Number.POSITIVE_INFINITY,
      content: (mine, theirs) => judgeContent(history.versions.get(mine.serial)!, ceiling, theirs.content),
    });
    if (!best || differences.length <= best.differences.length) best = { found: count, differences };
  }
  return best ?? { found: 0, differences: ["nothing was done, and more was synced: the record is broken"] };
}

function judgeExactly(work: Work, operations: readonly Operation[], found: Inode): Verdict {
  const model = new Model(copyTree(work.initial));
  for (let index = 0; index < work.done; index++) model.apply(index, operations[index]!);
  const content = (mine: Inode, theirs: Inode): string | null => compareContent(mine.content, theirs.content);
  return {
    found: work.done,
    differences: compareTrees(model.root, found, { fileTimes: true, most: 20, content }),
  };
}

/** The worker's first operations, as its seed gives them. */
export function firstOperations({ seed, run, worker }: Work, count: number): Operation[] {
  const all = operationsFrom(seed, run, worker);
  return Array.from({ length: count }, () => all.next().value as Operation);
}

/** Does all of it again, and notes which versions may have survived, and what was confirmed. */
function recall(work: Work, operations: readonly Operation[], survived: "memory" | "disk"): History {
  const versions = new Map<number, Version[]>();
  const born = new Map<number, number>();
  const changed = new Map<number, number>();
  let least = 0;
  let index = -1;
  let written: Inode | null = null;
  const settle = (inode: Inode): void =>
    void versions.set(inode.serial, versions.get(inode.serial)!.slice(-1));
  const root = copyTree(work.initial);
  const note = (inode: Inode): void => {
    written = inode;
    const list = versions.get(inode.serial) ?? [];
    versions.set(inode.serial, list);
    list.push({ at: index, content: inode.content });
  };
  const noteAll = (inode: Inode): void => {
    if (!versions.has(inode.serial)) note(inode);
    for (const child of inode.names.values()) noteAll(child);
  };
  noteAll(root);
  const model = new Model(root, {
    content: note,
    settled: settle,
    metadata: ({ serial }) => {
      if (!born.has(serial)) born.set(serial, index);
      changed.set(serial, index);
    },
    synced: (inode, dataOnly, range) => {
      // What was only begun confirmed nothing.
      if (index >= work.done) return;
      if (inode.kind === "file" && range) settleRange(versions.get(inode.serial)!, range);
      else if (inode.kind === "file") settle(inode);
      const last = survived === "memory" ? index : ((dataOnly ? born : changed).get(inode.serial) ?? -1);
      least = Math.max(least, last + 1);
    },
  });
  for (index = 0; index < operations.length; index++) {
    written = null;
    const operation = operations[index]!;
    model.apply(index, operation);
    const isInHands = work.durability === "write" && survived === "memory" && index < work.done;
    if (written && isInHands && (operation.do === "write" || operation.do === "writeHeld")) {
      settle(written);
      least = index + 1;
    }
  }
  return { versions, least };
}

/** Of a file only these bytes were synced: whichever older version is found, it has them as the newest has. */
export function settleRange(versions: Version[], { start, end }: Range): void {
  const newest = versions.at(-1)!.content.subarray(start, end);
  for (const version of versions.slice(0, -1)) {
    const content = new Uint8Array(Math.max(version.content.length, start + newest.length));
    content.set(version.content);
    content.set(newest, start);
    version.content = content;
  }
}

/** Every byte is one that the file had in one of its versions, and so is its length, more or less. */
function judgeContent(all: readonly Version[], ceiling: number, found: Uint8Array): string | null {
  const possible = all.filter((version, i) => i === 0 || version.at < ceiling).map(({ content }) => content);
  const lengths = possible.map(({ length }) => length);
  const [shortest, longest] = [Math.min(...lengths), Math.max(...lengths)];
  if (found.length < shortest || found.length > longest)
    return `${found.length} bytes; since it was synced it had ${shortest} to ${longest}`;
  if (possible.some((content) => content.length === found.length && Buffer.compare(content, found) === 0))
    return null;
  for (let at = 0; at < found.length; at++)
    if (!possible.some((content) => (content[at] ?? 0) === found[at]))
      return `byte ${at} of ${found.length} is ${found[at]}; since the file was synced it was ${[...new Set(possible.map((content) => content[at] ?? 0))].join(" or ")}`;
  return null;
}
