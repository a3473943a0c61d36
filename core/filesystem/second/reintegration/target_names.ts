/** Makes, moves, links and removes the names of one directory of SECOND's copy, as reintegration's plan of it says. */
import { AT_REMOVEDIR } from "../../../platform/linux/constants.ts";
import { errnos } from "../../../platform/linux/errno.ts";
import {
  close,
  cString,
  linkat,
  mkdirat,
  mknodat,
  renameat2,
  symlinkat,
  unlinkat,
} from "../../../platform/linux/libc.ts";
import { nameBytes } from "../../../replication/name_text.ts";
import { DT_DIR, DT_REG, LIMBO, type NameAction } from "../../../replication/names.ts";
import { FrameType } from "../../../replication/operation.ts";
import { readFlags, writeFlags } from "../../objects/flags.ts";
import { modeOf, openObject, textName } from "../../objects/object_access.ts";
import type { ReplicaRoots } from "../../replica/replica_identity.ts";
import type { ReplicaObjects } from "../../replica/replica_objects.ts";
import type { StreamWriter } from "../../stream/stream_buffers.ts";
import { emptyDirectory } from "./limbo.ts";
import type { TargetDirectory, TargetTree } from "./target_tree.ts";

const DT_LNK = 10;
const placeholder = cString("?").address;

/** See the top of the file. */
export class TargetNames {
  readonly #objects: ReplicaObjects;
  readonly #roots: ReplicaRoots;
  readonly #tree: TargetTree;

  constructor(objects: ReplicaObjects, roots: ReplicaRoots, tree: TargetTree) {
    this.#objects = objects;
    this.#roots = roots;
    this.#tree = tree;
  }

  /** Does one action in the directory `id`; what is made asks the source for the rest. Returns 0 or -errno. */
  act(
    directory: TargetDirectory,
    id: number,
    action: NameAction,
    writer: StreamWriter,
    sequence: number,
  ): number {
    switch (action.do) {
      case "toLimbo":
        return this.#toLimbo(directory, id, action.name, action.limboName, action.id);
      case "remove": {
        this.#detach(id, action.name);
        const result = unlinkat(directory.fd, textName(action.name), 0);
        if (result !== -errnos.EPERM || !this.#unlock(directory, action.name)) return result;
        return unlinkat(directory.fd, textName(action.name), 0);
      }
      case "take":
      case "link":
        return this.#bring(directory, id, action);
      case "make":
        return this.#make(directory, id, action, writer, sequence);
    }
  }

  #toLimbo(directory: TargetDirectory, parent: number, from: string, to: string, id: number): number {
    this.#detach(parent, from);
    const limbo = this.#tree.limbo(directory.root);
    let result = renameat2(directory.fd, textName(from), limbo, textName(to, true), 0);
    if (
      result === -errnos.ENOTEMPTY ||
      result === -errnos.EEXIST ||
      result === -errnos.ENOTDIR ||
      result === -errnos.EISDIR
    ) {
      // What a former reintegration left there under the same identity is of no use any more.
      const old = openObject(limbo, textName(to), true);
      if (old >= 0 && modeOf(old) >>> 12 === DT_DIR)
        emptyDirectory(old, this.#roots.identities[directory.root]!);
      if (old >= 0) close(old);
      if (unlinkat(limbo, textName(to), 0) < 0) unlinkat(limbo, textName(to), AT_REMOVEDIR);
      result = renameat2(directory.fd, textName(from), limbo, textName(to, true), 0);
    }
    close(limbo);
    if (result === -errnos.EPERM)
      return this.#unlock(directory, from) ? this.#toLimbo(directory, parent, from, to, id) : result;
    return result;
  }

  /** Takes immutable and append-only flags away, which would forbid a change that the source made. True if there were any. */
  #unlock(directory: Pick<TargetDirectory, "fd">, at: string): boolean {
    const fd = openObject(directory.fd, textName(at), true);
    if (fd < 0) return false;
    const locked = readFlags(fd, modeOf(fd)) !== 0 && writeFlags(fd, 0) >= 0;
    close(fd);
    return locked;
  }

  #bring(
    directory: TargetDirectory,
    parent: number,
    action: Extract<NameAction, { do: "take" | "link" }>,
  ): number {
    const source =
      action.from.parent === LIMBO
        ? { fd: this.#tree.limbo(directory.root), root: directory.root }
        : this.#tree.open(action.from.parent);
    if (typeof source === "number") return source;
    const bring = (): number =>
      action.do === "take"
        ? renameat2(source.fd, textName(action.from.name), directory.fd, textName(action.name, true), 0)
        : linkat(source.fd, textName(action.from.name), directory.fd, textName(action.name, true), 0);
    let result = bring();
    if (result === -errnos.EPERM && this.#unlock(source, action.from.name)) result = bring();
    close(source.fd);
    const object = this.#objects.get(action.id);
    if (result >= 0 && object !== undefined) this.#objects.move(object, parent, nameBytes(action.name));
    return result;
  }

  /** Makes an empty object and asks for the rest. */
  #make(
    directory: TargetDirectory,
    parent: number,
    action: Extract<NameAction, { do: "make" }>,
    writer: StreamWriter,
    sequence: number,
  ): number {
    const { fd, root } = directory;
    const { type } = action;
    const made =
      type === DT_DIR
        ? mkdirat(fd, textName(action.name), 0o700)
        : type === DT_LNK
          ? symlinkat(placeholder, fd, textName(action.name))
          : mknodat(fd, textName(action.name), (type << 12) | 0o600, 0);
    if (made < 0) return made;
    const object = openObject(fd, textName(action.name));
    if (object < 0) return object;
    const pathOnly = type !== DT_DIR && type !== DT_REG;
    const result = this.#roots.write(root, object, pathOnly, action.id);
    if (result < 0 || this.#objects.get(action.id) === undefined) close(object);
    else {
      // This copy lost its last name of it, and the source knows nothing of that: what it sends before it hears of the need is for this one.
      const known = this.#objects.introduce(action.id, parent, nameBytes(action.name), object);
      known.root = root;
      known.pathOnly = pathOnly;
    }
    if (result < 0) return result;
    writer.frame.type = FrameType.NEED;
    writer.frame.id = action.id;
    writer.frame.flags = type === DT_DIR ? 1 : 0;
    writer.frame.sequence = sequence;
    writer.add();
    return 0;
  }

  /** What was introduced by this name is about to lose it. */
  #detach(parent: number, text: string): void {
    const object = this.#objects.named(parent, nameBytes(text));
    if (object !== undefined) this.#objects.detach(object);
  }
}
