/**
 * The least that a mirror of one file can do: what is written here is sent, written and synced there, while this disk syncs too.
 *
 * No file system between it and the application, no order, no marks, no encryption, nothing that survives a failure. What it takes beyond
 * disk and network is what this machine takes for waking its threads and for two disks that sync at once: nothing that replicates can be faster here.
 *
 * `bun least_mirror.ts lead PORT FILE SECONDS` waits for the other side, writes 4 KiB at random places and prints the median in microseconds;
 * `bun least_mirror.ts follow ADDRESS PORT FILE` follows until that ends.
 */
import { statSync } from "node:fs";
import { O_RDWR } from "../../core/platform/linux/constants.ts";
import { fsync, open, pwrite } from "../../core/platform/linux/libc.ts";
import { buffer, connections, dial, LONG, read, SHORT, write } from "./blocking_socket.ts";
import { median } from "./report.ts";

const BLOCK = 4096;
/** Where the block goes, behind it in the message. */
const PLACE = BLOCK;
const view = new DataView(buffer.bytes.buffer);

function openFile(path: string): number {
  const fd = open(path, O_RDWR);
  if (fd < 0) throw new Error(`cannot open ${path}: errno ${-fd}`);
  return fd;
}

/** Writes the message's block to its place. */
function put(file: number): void {
  const count = pwrite(file, buffer.address, BLOCK, view.getFloat64(PLACE));
  if (count !== BLOCK) throw new Error(`cannot write: ${count}`);
}

function sync(file: number): void {
  const outcome = fsync(file);
  if (outcome < 0) throw new Error(`cannot sync: errno ${-outcome}`);
}

function lead(port: number, path: string, seconds: number): number {
  const file = openFile(path);
  const blocks = statSync(path).size / BLOCK;
  const peer = connections(port).next().value;
  const times: number[] = [];
  for (const end = performance.now() + seconds * 1000; performance.now() < end; ) {
    const began = performance.now();
    view.setFloat64(PLACE, Math.floor(Math.random() * blocks) * BLOCK);
    put(file);
    write(peer, LONG);
    sync(file);
    if (!read(peer, SHORT)) throw new Error("the follower is gone");
    times.push((performance.now() - began) * 1000);
  }
  return median(times);
}

function follow(address: string, port: number, path: string): void {
  const file = openFile(path);
  const leader = dial(address, port);
  while (read(leader, LONG)) {
    put(file);
    sync(file);
    write(leader, SHORT);
  }
}

const [side, first = "", second = "", third = ""] = process.argv.slice(2);
if (side === "lead") console.log(lead(Number(first), second, Number(third)));
else follow(first, Number(second), third);
