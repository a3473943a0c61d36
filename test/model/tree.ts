/**
 * A directory tree as POSIX and Linux describe it, in memory: what the model test compares real trees with.
 *
 * Names, extended attributes and link targets are latin1 strings, one character for each byte.
 */

export type Kind = "file" | "directory" | "link" | "fifo" | "socket" | "character";

/** An access ACL with one named user. Permissions are 0 to 7 (acl(5)). */
export interface Acl {
  owner: number;
  named: number;
  group: number;
  mask: number;
  other: number;
}

/** What an object is. Two names lead to one `Inode` if they are hard links. */
export interface Inode {
  /** Counts objects of one model in the order in which they came to be. */
  readonly serial: number;
  readonly kind: Kind;
  /** Without the type. */
  mode: number;
  uid: number;
  gid: number;
  /** Nanoseconds since 1970, or null where nobody said. */
  mtime: bigint | null;
  acl: Acl | null;
  /** Values as latin1. */
  readonly attributes: Map<string, string>;
  /** Of files. Never changed in place: versions are kept by reference. */
  content: Uint8Array;
  /** Of links. */
  readonly target: string;
  /** Of devices. */
  readonly device: number;
  /** Of directories. */
  readonly names: Map<string, Inode>;
}

/** An object without content, names or attributes. */
export function newInode(serial: number, kind: Kind, mode: number, more: Partial<Inode> = {}): Inode {
  return {
    serial,
    kind,
    mode,
    uid: 0,
    gid: 0,
    mtime: null,
    acl: null,
    attributes: new Map(),
    content: new Uint8Array(0),
    target: "",
    device: 0,
    names: new Map(),
    ...more,
  };
}

/** A copy that shares nothing but content. Serial numbers stay. */
export function copyTree(root: Inode): Inode {
  const copies = new Map<Inode, Inode>();
  const copy = (inode: Inode): Inode => {
    const known = copies.get(inode);
    if (known) return known;
    const made: Inode = {
      ...inode,
      acl: inode.acl && { ...inode.acl },
      attributes: new Map(inode.attributes),
      names: new Map(),
    };
    copies.set(inode, made);
    for (const [name, child] of inode.names) made.names.set(name, copy(child));
    return made;
  };
  return copy(root);
}

/** Is `inode` the directory `above`, or somewhere below it? */
export function isWithin(inode: Inode, above: Inode): boolean {
  if (inode === above) return true;
  for (const child of above.names.values())
    if (child.kind === "directory" && isWithin(inode, child)) return true;
  return false;
}

/** How two trees are compared. */
export interface Comparison {
  /** What is wrong with a file's content, or null. */
  content(model: Inode, found: Inode): string | null;
  /** Are modification times of files compared, where the model knows them? Those of other objects always are. */
  fileTimes: boolean;
  /** Ends at this many differences. */
  most: number;
}

/** What differs, one line each. The roots themselves and the directories right below them are only places: they are not compared. */
export function compareTrees(model: Inode, found: Inode, comparison: Comparison): string[] {
  const lines: string[] = [];
  const pairs = new Map<Inode, { found: Inode; path: string }>();
  const owners = new Map<Inode, string>();
  const visit = (a: Inode, b: Inode, path: string, depth: number): void => {
    const known = pairs.get(a);
    if (known !== undefined || owners.has(b)) {
      if (known?.found !== b)
        lines.push(
          `${path}: is ${known?.path ?? "no other name"} in the model, ${owners.get(b) ?? "a file of its own"} here`,
        );
      return;
    }
    pairs.set(a, { found: b, path });
    owners.set(b, path);
    if (depth > 1) lines.push(...compareObjects(a, b, comparison).map((what) => `${path}: ${what}`));
    for (const name of new Set([...a.names.keys(), ...b.names.keys()])) {
      if (lines.length >= comparison.most) return;
      const [mine, theirs] = [a.names.get(name), b.names.get(name)];
      const at = `${path}/${shown(name)}`;
      if (mine && theirs) visit(mine, theirs, at, depth + 1);
      else
        lines.push(
          mine ? `${at}: a ${mine.kind} that is missing` : `${at}: a ${theirs!.kind} that nobody made`,
        );
    }
  };
  visit(model, found, "", 0);
  return lines.slice(0, comparison.most);
}

function compareObjects(a: Inode, b: Inode, { content, fileTimes }: Comparison): string[] {
  if (a.kind !== b.kind) return [`a ${b.kind}, not a ${a.kind}`];
  const lines: string[] = [];
  const same = (what: string, mine: unknown, theirs: unknown): void => {
    if (mine !== theirs) lines.push(`${what} ${String(theirs)}, not ${String(mine)}`);
  };
  if (a.kind !== "link") same("mode", a.mode.toString(8), b.mode.toString(8));
  same("owner", `${a.uid}:${a.gid}`, `${b.uid}:${b.gid}`);
  same("target", a.target, b.target);
  same("device", a.device, b.device);
  same("ACL", JSON.stringify(a.acl), JSON.stringify(b.acl));
  same("attributes", attributesOf(a), attributesOf(b));
  if (a.mtime !== null && (fileTimes || a.kind !== "file")) same("mtime", a.mtime, b.mtime);
  const wrong = a.kind === "file" ? content(a, b) : null;
  if (wrong !== null) lines.push(wrong);
  return lines;
}

function attributesOf({ attributes }: Inode): string {
  return [...attributes]
    .map(([name, value]) => `${name}=${value}`)
    .sort(byCode)
    .join(" ");
}

function shown(name: string): string {
  return name.length > 40 ? `${name.slice(0, 20)}…(${name.length})` : JSON.stringify(name).slice(1, -1);
}

/** Where two contents differ first, or null. */
export function compareContent(model: Uint8Array, found: Uint8Array): string | null {
  if (model.length !== found.length) return `${found.length} bytes, not ${model.length}`;
  if (Buffer.compare(model, found) === 0) return null;
  const at = model.findIndex((byte, i) => byte !== found[i]);
  return `byte ${at} is ${found[at]}, not ${model[at]}`;
}

/** Sorts text by its characters' numbers. */
export const byCode = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
