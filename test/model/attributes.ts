/** What operations on attributes do to an object of the model. */
import { fail } from "./failure.ts";
import type { Operation } from "./operations.ts";
import type { Inode } from "./tree.ts";

/** One of them. */
export type AttributeOperation = Operation & {
  do: "chmod" | "chown" | "utimes" | "setxattr" | "removexattr" | "setacl";
};

/** False: on an object of this kind the call is not made. Throws Failure. */
export function changeAttributes(inode: Inode, op: AttributeOperation): boolean {
  if (op.do === "chmod") {
    if (inode.kind === "link") fail("ENOENT");
    setMode(inode, op.mode);
  } else if (op.do === "chown") {
    inode.uid = op.uid;
    inode.gid = op.gid;
    if (inode.kind !== "directory") inode.mode &= (inode.mode & 0o010) !== 0 ? ~0o6000 : ~0o4000;
  } else if (op.do === "utimes") inode.mtime = op.mtime;
  else if (inode.kind !== "file" && inode.kind !== "directory") return false;
  else if (op.do === "setacl") {
    inode.acl = { ...op.acl };
    inode.mode = (inode.mode & 0o7000) | (op.acl.owner << 6) | (op.acl.mask << 3) | op.acl.other;
  } else changeAttribute(inode, op);
  return true;
}

function changeAttribute({ attributes }: Inode, op: Operation & { do: "setxattr" | "removexattr" }): void {
  const isThere = attributes.has(op.name);
  if (op.do === "removexattr") {
    if (!isThere) fail("ENODATA");
    attributes.delete(op.name);
    return;
  }
  if (op.flags === 1 && isThere) fail("EEXIST");
  if (op.flags === 2 && !isThere) fail("ENODATA");
  attributes.set(op.name, op.value);
}

/** chmod(2) on an object with an ACL sets the mask where it would set the group's permissions (acl(5)). */
function setMode(inode: Inode, mode: number): void {
  inode.mode = mode;
  if (!inode.acl) return;
  inode.acl.owner = (mode >> 6) & 7;
  inode.acl.mask = (mode >> 3) & 7;
  inode.acl.other = mode & 7;
}
