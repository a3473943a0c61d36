/**
 * What happens to interfaces and addresses, as the kernel tells it: rtnetlink(7) groups, in the event loop. One socket for the whole daemon, open while
 * somebody listens.
 */
import { check } from "../platform/linux/errno.ts";
import { watchDescriptor } from "../platform/linux/event_descriptor.ts";
import { allocate, bind, close, socket } from "../platform/linux/libc.ts";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const GROUPS = 1 | 0x10 | 0x100; // RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
/** What can make something worse, or a link better. */
const NEWS: ReadonlySet<number> = new Set([RTM_NEWLINK, RTM_DELLINK, RTM_DELADDR]);
const TYPE_OFFSET = 4;

interface Listener {
  notice(): void;
  awaits(): boolean;
}
const listeners = new Set<Listener>();
let stop: (() => void) | null = null;

/**
 * Calls `notice` soon after a link or an address changed; after an address came only if one is awaited, since ours are renewed all the time. Returns
 * what ends that. Without netlink nothing is ever noticed.
 */
export function onLinkChange(notice: () => void, awaits: () => boolean): () => void {
  const listener = { notice, awaits };
  listeners.add(listener);
  stop ??= listen();
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    stop?.();
    stop = null;
  };
}

function listen(): (() => void) | null {
  const fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return null;
  const address = allocate(16);
  address.view.setUint16(0, AF_NETLINK, true);
  address.view.setUint32(8, GROUPS, true);
  try {
    check(bind(fd, address.address, 12), "cannot listen to the kernel's network events");
  } catch {
    close(fd);
    return null;
  }
  return watchDescriptor(
    fd,
    (datagram) => {
      const type = new DataView(datagram.buffer, datagram.byteOffset).getUint16(TYPE_OFFSET, true);
      for (const { notice, awaits } of [...listeners])
        if (NEWS.has(type) || (type === RTM_NEWADDR && awaits())) notice();
    },
    // Too much happened at once (ENOBUFS): look, and listen again.
    (isRefused) => {
      stop = listeners.size > 0 && !isRefused ? listen() : null;
      for (const { notice } of [...listeners]) notice();
    },
  );
}
