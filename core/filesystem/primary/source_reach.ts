/**
 * PRIM: how durable points reach what was touched.
 *
 * What is neither file nor directory cannot be synced by itself: its name is made durable with its directory, its attributes
 * by the sync of the copy's record that ends each point (copy_record.ts).
 */
import { S_IFDIR, S_IFMT, S_IFREG } from "../../platform/linux/constants.ts";
import { close } from "../../platform/linux/libc.ts";
import type { Marks } from "../../replication/marks.ts";
import type { Reach } from "../loop/point_syncs.ts";
import type { KnownPlaces } from "../objects/known_places.ts";
import { modeOf } from "../objects/object_access.ts";
import { BackingTree, type TreeRoot } from "../objects/source_tree.ts";

/** Underneath the mount, where the file system last saw the object. Never by a walk through the tree. */
export class SourceReach implements Reach {
  #tree: BackingTree | null = null;

  constructor(
    readonly roots: readonly TreeRoot[],
    readonly places: KnownPlaces,
    readonly marks: Marks,
  ) {}

  open(id: number): number | null {
    // What is gone lies in its directory, which was touched as well. What is alive without a known name (an unnamed file, the
    // other name of one that lost this) must be synced nevertheless.
    if (this.places.get(id) === null && this.marks.objects.get(id)?.isGone) return null;
    this.#tree ??= new BackingTree(this.roots, this.places, this.marks);
    const fd = this.#tree.openKnown(id);
    if (fd < 0) return fd;
    const type = modeOf(fd) & S_IFMT;
    if (type === S_IFREG || type === S_IFDIR) return fd;
    close(fd);
    return null;
  }

  release(fd: number): void {
    close(fd);
  }

  end(): void {
    this.#tree?.close();
    this.#tree = null;
  }
}
