/** Descriptors of the directory under the mount: few are kept, and none is used after it was closed in favour of another. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { Backing, openRoot } from "../../core/filesystem/fuse/backing.ts";
import { IN_NODE_WORD, IN_OPCODE, Op } from "../../core/filesystem/fuse/fuse_protocol.ts";
import { ROOT } from "../../core/filesystem/fuse/node_table.ts";
import { operate } from "../../core/filesystem/fuse/operations/operations.ts";
import { Session } from "../../core/filesystem/fuse/session.ts";
import { Pool } from "../../core/filesystem/loop/pool.ts";
import { O_RDWR } from "../../core/platform/linux/constants.ts";
import { allocate, memfdCreate, open } from "../../core/platform/linux/libc.ts";
import { cachedDescriptors } from "../../core/platform/linux/open_files.ts";
import { LocalReplicator } from "../fixtures/local_replicator.ts";
import { scratch } from "../fixtures/scratch.ts";

const skip = process.getuid?.() === 0 ? false : "needs root: objects are opened by their handles";
/** So many files may have a modification time that is not told yet. */
const UNTOLD = 4096;
const MOST_OPEN = 8;
const words = new TextEncoder().encode("for one file only");

t.test(
  "trap 34: what is written reaches its own file when many others must be opened first",
  { skip },
  (t) => {
    const directory = join(scratch("descriptors"), "data");
    mkdirSync(directory);
    const names = Array.from({ length: UNTOLD + 2 }, (_, file) => `f${file}`);
    for (const name of names) writeFileSync(join(directory, name), "");
    const sharers = Math.floor(cachedDescriptors(Number.MAX_SAFE_INTEGER, 1) / (4 * MOST_OPEN));
    const backing = new Backing(openRoot(directory), memfdCreate("nodes"), 1, null, 0, sharers);
    const pool = new Pool(1);
    const session = new Session(open("/dev/null", O_RDWR), backing, new LocalReplicator(1), pool, {
      durability: "fsync",
      close: "ordered",
    });
    t.teardown(() => {
      session.close();
      pool.close();
    });
    const name = allocate(256);
    const nodes = names.map((text) => {
      name.bytes[new TextEncoder().encodeInto(text, name.bytes).written] = 0;
      const index = backing.resolve(ROOT, backing.rootFd, name, 0);
      backing.table.remember(index);
      return index;
    });

    /** As the kernel asks for it. */
    const request = (opcode: number, index: number, length: number): void => {
      const { view } = session.request;
      view.setUint32(IN_OPCODE, opcode, true);
      session.request.words[IN_NODE_WORD] = index;
      session.request.words[IN_NODE_WORD + 1] = backing.table.generation(index);
      session.request.bytes.fill(0, 40, 80);
      view.setUint32(56, length, true);
      session.request.bytes.set(words, 80);
      operate(session);
    };
    const [written = 0, allocated = 0, ...others] = nodes;
    for (const index of others) session.times.made(index, 1, 0);
    request(Op.WRITE, written, words.length);
    // The one that was written is among them by now.
    for (const index of others.slice(1)) session.times.made(index, 1, 0);
    request(Op.FALLOCATE, allocated, 10_000);

    const [first = "", second = "", ...rest] = names.map((file) =>
      readFileSync(join(directory, file), "latin1"),
    );
    t.equal(first, "for one file only");
    t.equal(second, "\0".repeat(10_000));
    t.same(
      rest.filter((content) => content !== ""),
      [],
      "no other file was touched",
    );
    t.end();
  },
);
