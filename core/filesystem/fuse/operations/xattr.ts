/** Extended attributes and ACLs. Our own attribute is neither shown nor changed. */
import { S_ISGID } from "../../../platform/linux/constants.ts";
import { errnos } from "../../../platform/linux/errno.ts";
import * as libc from "../../../platform/linux/libc.ts";
import { ATTR_MODE } from "../../../replication/replicator.ts";
import { HIDDEN_ATTRIBUTES } from "../../objects/identity.ts";
import {
  childPath,
  descriptorPath,
  fixedName,
  scratch,
  VALUE,
  VALUE_SIZE,
  valueAddress,
} from "../../objects/places.ts";
import { isOpenable } from "../descriptors.ts";
import { REPLY_HEADER, SETXATTR_ACL_KILL_SGID } from "../fuse_protocol.ts";
import { ACL_KNOWN, ACL_PRESENT } from "../node_table.ts";
import { PARKED } from "../outcome.ts";
import type { Session } from "../session.ts";
import { nameAt } from "./request_names.ts";

const ACCESS_ACL = "system.posix_acl_access";
const DEFAULT_ACL = "system.posix_acl_default";
const accessAcl = fixedName(ACCESS_ACL);
const defaultAcl = fixedName(DEFAULT_ACL);
const accessAclBytes = new TextEncoder().encode(ACCESS_ACL);
const defaultAclBytes = new TextEncoder().encode(DEFAULT_ACL);

/** Is the NUL-terminated name at `at` exactly this one? */
function isName(bytes: Uint8Array, at: number, name: Uint8Array): boolean {
  for (let i = 0; i < name.length; i++) if (bytes[at + i] !== name[i]) return false;
  return bytes[at + name.length] === 0;
}

function isHidden(bytes: Uint8Array, at: number): boolean {
  for (const name of HIDDEN_ATTRIBUTES) if (isName(bytes, at, name)) return true;
  return false;
}

/** GETXATTR. */
export function getXattr(s: Session): number {
  const index = s.node();
  if (index === 0) return -errnos.ESTALE;
  if (isHidden(s.request.bytes, 48)) return -errnos.ENODATA;
  const fd = s.backing.descriptors.get(index);
  if (fd < 0) return fd;
  const size = s.request.view.getUint32(40, true);
  const to = size === 0 ? 0 : s.reply.address + REPLY_HEADER;
  const name = s.request.address + 48;
  const room = Math.min(size, VALUE_SIZE);
  const length = isOpenable(s.backing.table.type(index))
    ? libc.fgetxattr(fd, name, to, room)
    : libc.getxattr(descriptorPath(fd), name, to, room);
  return length < 0 || size > 0 ? length : lengthReply(s, length);
}

/** Asked without room for the value, the answer is its length. */
function lengthReply(s: Session, length: number): number {
  s.reply.words[REPLY_HEADER >>> 2] = length;
  s.reply.words[(REPLY_HEADER >>> 2) + 1] = 0;
  return 8;
}

/** LISTXATTR. */
export function listXattr(s: Session): number {
  const index = s.node();
  if (index === 0) return -errnos.ESTALE;
  const fd = s.backing.descriptors.get(index);
  if (fd < 0) return fd;
  const length = isOpenable(s.backing.table.type(index))
    ? libc.flistxattr(fd, valueAddress, VALUE_SIZE)
    : libc.listxattr(descriptorPath(fd), valueAddress, VALUE_SIZE);
  if (length < 0) return length;
  const size = s.request.view.getUint32(40, true);
  const shown = copyShown(s, length);
  if (size === 0) return lengthReply(s, shown);
  return shown > size ? -errnos.ERANGE : shown;
}

/** Copies the list of names in VALUE to the reply, without ours. Returns its length. */
function copyShown(s: Session, length: number): number {
  const { bytes } = scratch;
  let to = REPLY_HEADER;
  for (let at = VALUE; at < VALUE + length; ) {
    const end = bytes.indexOf(0, at) + 1;
    if (!isHidden(bytes, at)) {
      for (let i = at; i < end; i++) s.reply.bytes[to + i - at] = bytes[i]!;
      to += end - at;
    }
    at = end;
  }
  return to - REPLY_HEADER;
}

/** SETXATTR: ACLs too. */
export function setXattr(s: Session): number {
  const index = s.node();
  if (index === 0) return -errnos.ESTALE;
  const { backing, replicator, request } = s;
  if (isHidden(request.bytes, 56)) return -errnos.EPERM;
  const replicated = !backing.isExcluded(index);
  const identity = backing.table.identity(index);
  if (replicated && !replicator.beforeAttributes(identity)) return PARKED;
  const fd = backing.descriptors.get(index);
  if (fd < 0) return fd;
  const size = request.view.getUint32(40, true);
  const flags = request.view.getUint32(44, true);
  const value = request.bytes.indexOf(0, 56) + 1;
  const name = request.address + 56;
  const openable = isOpenable(backing.table.type(index));
  // Once done, "create" says that it exists: whether that is new, only who began it knew.
  if (flags !== 0) s.intend(hasXattr(fd, openable, name), 0);
  const result = openable
    ? libc.fsetxattr(fd, name, request.address + value, size, flags)
    : libc.setxattr(descriptorPath(fd), name, request.address + value, size, flags);
  const wasSet = result === -errnos.EEXIST && s.wasIntended && backing.table.beforeLow === 0;
  if (result < 0 && !wasSet) return result;
  forgetAclKnowledge(s, index, 56);
  if (replicated) replicator.setXattr(identity, nameAt(s, 56), request.bytes.subarray(value, value + size));
  if ((request.view.getUint32(48, true) & SETXATTR_ACL_KILL_SGID) !== 0) killSetgid(s, index, fd, replicated);
  return 0;
}

/** 1 when the open object has this attribute, else 0. */
function hasXattr(fd: number, openable: boolean, name: number): number {
  const length = openable ? libc.fgetxattr(fd, name, 0, 0) : libc.getxattr(descriptorPath(fd), name, 0, 0);
  return length < 0 ? 0 : 1;
}

/** An ACL set by someone outside the file's group takes the set-group-id bit away. */
function killSetgid(s: Session, index: number, fd: number, replicated: boolean): void {
  const { backing } = s;
  if (backing.statDescriptor(fd) < 0 || (backing.mode() & S_ISGID) === 0) return;
  const mode = backing.mode() & 0o7777 & ~S_ISGID;
  if (libc.fchmod(fd, mode) >= 0 && replicated)
    s.replicator.setAttributes(backing.table.identity(index), ATTR_MODE, mode, 0, 0, 0, 0, 0, 0, 0);
}

/** REMOVEXATTR. */
export function removeXattr(s: Session): number {
  const index = s.node();
  if (index === 0) return -errnos.ESTALE;
  const { backing, replicator, request } = s;
  if (isHidden(request.bytes, 40)) return -errnos.ENODATA;
  const replicated = !backing.isExcluded(index);
  const identity = backing.table.identity(index);
  if (replicated && !replicator.beforeAttributes(identity)) return PARKED;
  const fd = backing.descriptors.get(index);
  if (fd < 0) return fd;
  const name = request.address + 40;
  const openable = isOpenable(backing.table.type(index));
  s.intend(hasXattr(fd, openable, name), 0);
  const result = openable ? libc.fremovexattr(fd, name) : libc.removexattr(descriptorPath(fd), name);
  const wasRemoved = result === -errnos.ENODATA && s.wasIntended && backing.table.beforeLow === 1;
  if (result < 0 && !wasRemoved) return result;
  forgetAclKnowledge(s, index, 40);
  if (replicated) replicator.removeXattr(identity, nameAt(s, 40));
  return 0;
}

function forgetAclKnowledge(s: Session, index: number, nameOffset: number): void {
  const { table } = s.backing;
  if (isName(s.request.bytes, nameOffset, defaultAclBytes))
    table.setFlags(index, table.flags(index) & ~(ACL_KNOWN | ACL_PRESENT));
}

/** Tells the replicator of the ACLs that a new object got from the default ACL of its directory. */
export function inheritAcls(
  s: Session,
  parent: number,
  dir: number,
  index: number,
  nameOffset: number,
): void {
  const { table } = s.backing;
  let flags = table.flags(parent);
  if ((flags & ACL_KNOWN) === 0) {
    flags |= ACL_KNOWN | (libc.fgetxattr(dir, defaultAcl, 0, 0) > 0 ? ACL_PRESENT : 0);
    table.setFlags(parent, flags);
  }
  if ((flags & ACL_PRESENT) === 0) return;
  tellAcl(s, dir, index, nameOffset, accessAcl, accessAclBytes);
  if (table.type(index) === 4) tellAcl(s, dir, index, nameOffset, defaultAcl, defaultAclBytes);
}

function tellAcl(
  s: Session,
  dir: number,
  index: number,
  nameOffset: number,
  name: number,
  nameBytes: Uint8Array,
): void {
  const length = libc.lgetxattr(childPath(dir, s.request.bytes, nameOffset), name, valueAddress, VALUE_SIZE);
  if (length > 0)
    s.replicator.setXattr(
      s.backing.table.identity(index),
      nameBytes,
      scratch.bytes.subarray(VALUE, VALUE + length),
    );
}
