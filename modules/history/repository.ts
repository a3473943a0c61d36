/**
 * A module's git repository: an ordinary one, so that plain git works on it too.
 *
 *     refs/heads/main          what the files of the directory are based on; HEAD
 *     refs/heads/template      what the module was made from, as it came
 *     refs/holdfast/active     the revision that this node works with: to move this ref is to switch
 *
 * What nodes rely on (packs that were handed over, refs) is on stable storage before anyone is told that it is there.
 */
import fs, {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { mkdir, open, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { TreeObject } from "isomorphic-git";
import { makeDirectoryDurably, syncDirectory } from "../../core/platform/durable_directory.ts";
import { git } from "./git_library.ts";
import { Bounds, blobId, type ModuleFile, type ModuleFiles } from "./module_files.ts";

/** The revision that this node works with. */
export const ACTIVE = "refs/holdfast/active";
/** What the files of the directory are based on. */
export const MAIN = "refs/heads/main";
/** What the module was made from. */
export const TEMPLATE = "refs/heads/template";

/** A full object name, hex. */
export type Commit = string;

/** Who made a revision, and why. */
export interface Signature {
  name: string;
  email: string;
}

/** A revision as history shows it. */
export interface Revision {
  commit: Commit;
  parents: readonly Commit[];
  author: string;
  /** ISO time, by the clock of the node where it was made: for people only. */
  time: string;
  message: string;
}

/** Revisions that `history` reads at most. */
const LIMIT_REVISIONS = 10_000;
/** A file of a commit: git's name of its content, and whether it may be run. */
export interface Entry {
  oid: string;
  executable: boolean;
}

/**
 * The file system as the library sees it: what it writes is whole and on stable storage, or not there. An object that a power cut has damaged
 * would be believed before its copy in a pack.
 */
const durableFs = {
  ...fs,
  promises: {
    ...fs.promises,
    async writeFile(
      file: string,
      content: string | Uint8Array,
      options?: { mode?: number } | string,
    ): Promise<void> {
      const mode = typeof options === "object" ? (options.mode ?? 0o666) : 0o666;
      const whole = `${file}.${process.pid}.new`;
      const handle = await open(whole, "w", mode);
      try {
        await handle.writeFile(content);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(whole, file);
    },
  },
};

/** The repository in a module's directory. */
export class Repository {
  readonly #cache = {};

  private constructor(
    readonly directory: string,
    readonly gitDirectory: string,
  ) {}

  /** The repository of this directory (or, where it is a bare one, the directory itself), or null. */
  static at(directory: string): Repository | null {
    for (const place of [join(directory, ".git"), directory])
      if (existsSync(join(place, "HEAD")) && statSync(join(place, "objects"), { throwIfNoEntry: false }))
        return new Repository(directory, place);
    return null;
  }

  /** The repository there; made, durably, when there is none. What lies in the directory is not touched. */
  static async make(directory: string): Promise<Repository> {
    const present = Repository.at(directory);
    if (present) return present;
    makeDirectoryDurably(directory);
    await git.init({ fs: durableFs, dir: directory, defaultBranch: "main" });
    const gitDirectory = join(directory, ".git");
    mkdirSync(join(gitDirectory, "info"), { recursive: true });
    writeFileSync(join(gitDirectory, "info/exclude"), "# Made on each node by Holdfast.\n.holdfast/\n");
    for (const name of ["HEAD", "config", "info/exclude"]) syncFile(join(gitDirectory, name));
    for (const name of ["info", "objects", "refs", "refs/heads", ""]) {
      mkdirSync(join(gitDirectory, name), { recursive: true });
      syncDirectory(join(gitDirectory, name));
    }
    syncDirectory(directory);
    return new Repository(directory, gitDirectory);
  }

  get #place(): { fs: typeof durableFs; dir: string; gitdir: string; cache: object } {
    return { fs: durableFs, dir: this.directory, gitdir: this.gitDirectory, cache: this.#cache };
  }

  /** The commit that a full ref name, a branch, or a full or abbreviated object name stands for; null when there is none. */
  async find(name: string): Promise<Commit | null> {
    try {
      return await git.resolveRef({ ...this.#place, ref: name });
    } catch {
      // Not a ref.
    }
    try {
      const oid = await git.expandOid({ ...this.#place, oid: name.toLowerCase() });
      return (await this.#isCommit(oid)) ? oid : null;
    } catch {
      return null;
    }
  }

  /** The commit of HEAD; null before the first one. */
  async head(): Promise<Commit | null> {
    return await this.find("HEAD");
  }

  /** True when HEAD is the branch main: anything else is its owner's business. */
  async isOnMain(): Promise<boolean> {
    return (await git.currentBranch({ ...this.#place, fullname: true })) === MAIN;
  }

  /** The commit that is being merged into HEAD, as git writes it down; null when no merge is under way. */
  async merging(): Promise<Commit | null> {
    const file = join(this.gitDirectory, "MERGE_HEAD");
    return existsSync(file) ? fs.readFileSync(file, "utf8").trim().slice(0, 40) : null;
  }

  async #isCommit(oid: string): Promise<boolean> {
    try {
      await git.readCommit({ ...this.#place, oid });
      return true;
    } catch {
      return false;
    }
  }

  /** Is the commit here? */
  async has(commit: Commit): Promise<boolean> {
    return await this.#isCommit(commit);
  }

  /** Moves a ref, durably and in one step, under git's own lock on it. Rejects when something else holds the lock. */
  async setRef(ref: string, commit: Commit): Promise<void> {
    const file = join(this.gitDirectory, ref);
    await mkdir(dirname(file), { recursive: true });
    const lock = `${file}.lock`;
    // A lock that a crash left behind is taken over: who writes here is alone (core/daemon/revisions/store.ts).
    const handle = await open(lock, "w", 0o644);
    try {
      await handle.writeFile(`${commit}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(lock, file);
    for (let up = dirname(file); up.length >= this.gitDirectory.length; up = dirname(up)) {
      const parent = await open(up, "r");
      await parent.sync().finally(() => parent.close());
    }
  }

  /** Forgets a ref. Harmless when there is none. */
  async deleteRef(ref: string): Promise<void> {
    await git.deleteRef({ ...this.#place, ref });
  }

  /** True when `ancestor` is `commit` or lies in its past. */
  async contains(commit: Commit, ancestor: Commit): Promise<boolean> {
    if (commit === ancestor) return true;
    if (!(await this.has(ancestor))) return false;
    return await git.isDescendent({ ...this.#place, oid: commit, ancestor, depth: -1 });
  }

  /** Where two commits parted; null when they have no common past. */
  async mergeBase(one: Commit, other: Commit): Promise<Commit | null> {
    const found = (await git.findMergeBase({ ...this.#place, oids: [one, other] })) as Commit[];
    return found[0] ?? null;
  }

  /** The files of a commit. Throws ModuleInvalid when it holds what no module may: links, other repositories, too much. */
  async entries(commit: Commit): Promise<Map<string, Entry>> {
    const found = new Map<string, Entry>();
    const { commit: content } = await git.readCommit({ ...this.#place, oid: commit });
    const bounds = new Bounds();
    const walk = async (tree: string, prefix: string): Promise<void> => {
      for (const { path, mode, oid, type } of (await git.readTree({ ...this.#place, oid: tree })).tree) {
        const full = prefix === "" ? path : `${prefix}/${path}`;
        if (type === "tree") {
          await walk(oid, full);
          continue;
        }
        if (type !== "blob" || mode === "120000") bounds.refuseLink(full);
        bounds.add(full, 0);
        found.set(full, { oid, executable: mode.endsWith("755") });
      }
    };
    await walk(content.tree, "");
    return found;
  }

  /** A file's content by git's name of it. */
  async blob(oid: string): Promise<Buffer> {
    return Buffer.from((await git.readBlob({ ...this.#place, oid })).blob);
  }

  /** The files of a commit with their content. Throws ModuleInvalid as `entries`. */
  async files(commit: Commit): Promise<ModuleFiles> {
    const files: ModuleFiles = new Map();
    const bounds = new Bounds();
    for (const [path, { oid, executable }] of await this.entries(commit)) {
      const content = await this.blob(oid);
      bounds.add(path, content.length);
      files.set(path, { content, executable });
    }
    return files;
  }

  /** The tree of a commit. */
  async treeOf(commit: Commit): Promise<string> {
    return (await git.readCommit({ ...this.#place, oid: commit })).commit.tree;
  }

  /** Writes files as a tree. */
  async writeTree(files: ReadonlyMap<string, ModuleFile>): Promise<string> {
    const root: Folder = { folders: new Map(), files: new Map() };
    for (const [path, file] of files) {
      const parts = path.split("/");
      let folder = root;
      for (const part of parts.slice(0, -1)) {
        const next = folder.folders.get(part) ?? { folders: new Map(), files: new Map() };
        folder.folders.set(part, next);
        folder = next;
      }
      folder.files.set(parts.at(-1)!, file);
    }
    return await this.#writeFolder(root);
  }

  async #writeFolder({ folders, files }: Folder): Promise<string> {
    const tree: TreeObject = [];
    for (const [path, { content, executable }] of files) {
      const mode = executable ? "100755" : "100644";
      // What is there already, loose or packed, is not written again.
      const oid = blobId(content);
      if (!(await this.#hasObject(oid))) await git.writeBlob({ ...this.#place, blob: content });
      tree.push({ path, mode, oid, type: "blob" });
    }
    for (const [path, folder] of folders)
      tree.push({ path, mode: "040000", oid: await this.#writeFolder(folder), type: "tree" });
    return await git.writeTree({ ...this.#place, tree });
  }

  async #hasObject(oid: string): Promise<boolean> {
    try {
      await git.readObject({ ...this.#place, oid, format: "deflated" });
      return true;
    } catch {
      return false;
    }
  }

  /** Makes a commit that no ref names yet. */
  async commit(
    tree: string,
    parents: readonly Commit[],
    message: string,
    author: Signature,
  ): Promise<Commit> {
    return await git.commit({
      ...this.#place,
      tree,
      parent: [...parents],
      message,
      author,
      noUpdateBranch: true,
    });
  }

  /** Revisions from `from` back, newest first. */
  async revisions(from: Commit, most = LIMIT_REVISIONS): Promise<Revision[]> {
    const found = await git.log({ ...this.#place, ref: from, depth: most });
    return found.map(({ oid, commit: { parent, author, message } }) => ({
      commit: oid,
      parents: parent,
      author: author.name,
      time: new Date(author.timestamp * 1000).toISOString(),
      message: message.trimEnd(),
    }));
  }

  /** Every object that `wants` need and who holds all of `haves` lacks. What of `haves` is not here counts for nothing. */
  async objectsBetween(wants: readonly Commit[], haves: readonly Commit[]): Promise<string[]> {
    const known = new Set<string>();
    for (const have of haves) {
      if (!(await this.has(have))) continue;
      for (const { oid } of await git.log({ ...this.#place, ref: have })) known.add(oid);
      await this.#addTree(await this.treeOf(have), known);
    }
    const found = new Set<string>();
    const waiting = [...wants];
    for (let oid = waiting.pop(); oid !== undefined; oid = waiting.pop()) {
      if (known.has(oid) || found.has(oid)) continue;
      const { commit } = await git.readCommit({ ...this.#place, oid });
      found.add(oid);
      await this.#addTree(commit.tree, found, known);
      waiting.push(...commit.parent);
    }
    return [...found];
  }

  async #addTree(tree: string, into: Set<string>, without: ReadonlySet<string> = new Set()): Promise<void> {
    if (into.has(tree) || without.has(tree)) return;
    into.add(tree);
    for (const { oid, type } of (await git.readTree({ ...this.#place, oid: tree })).tree)
      if (type === "tree") await this.#addTree(oid, into, without);
      else if (type === "blob" && !without.has(oid)) into.add(oid);
  }

  /** Objects as a pack file. */
  async pack(objects: readonly string[]): Promise<Buffer> {
    const { packfile } = await git.packObjects({ ...this.#place, oids: [...objects] });
    return Buffer.from(packfile!);
  }

  /** Takes a pack in, durably. Throws when it is damaged. */
  async storePack(pack: Uint8Array): Promise<void> {
    const sum = Buffer.from(pack.subarray(-20)).toString("hex");
    const relative = `.git/objects/pack/pack-${sum}`;
    const file = join(this.directory, relative);
    if (existsSync(`${file}.idx`)) return;
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(`${file}.pack`, pack);
    syncFile(`${file}.pack`);
    // Its index makes it count: written beside, as git has it, it is whole or not there.
    const { oids } = await git.indexPack({ ...this.#place, filepath: `${relative}.pack` });
    syncDirectory(dirname(file));
    syncDirectory(dirname(dirname(file)));
    // Loose objects come before packed ones, and may have been damaged by something else than us.
    for (const oid of oids)
      rmSync(join(this.gitDirectory, "objects", oid.slice(0, 2), oid.slice(2)), { force: true });
  }

  /** Makes the directory's tracked files and git's index those of the branch main, whatever is there. */
  async checkOutMain(): Promise<void> {
    await git.checkout({ fs: durableFs, dir: this.directory, ref: "main", force: true });
  }
}

interface Folder {
  folders: Map<string, Folder>;
  files: Map<string, ModuleFile>;
}

function syncFile(file: string): void {
  const fd = openSync(file, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
