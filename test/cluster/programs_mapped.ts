/**
 * A writer through a shared mapping: `programs_mapped.ts write FILE` numbers pages one after another, syncs each with msync(2) and then says
 * its number on a line; `check FILE LAST` fails when a page lacks what was said before number LAST.
 */
import { dlopen, FFIType, ptr } from "bun:ffi";
import { openSync, readFileSync, truncateSync, writeSync } from "node:fs";

const PAGE = 4096;
const PAGES = 2048;
const MS_SYNC = 4;

function write(file: string): never {
  openSync(file, "w");
  truncateSync(file, PAGES * PAGE);
  const bytes = Bun.mmap(file, { shared: true });
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const { msync } = dlopen("libc.so.6", {
    msync: { args: [FFIType.u64_fast, FFIType.u64_fast, FFIType.i32], returns: FFIType.i32 },
  }).symbols;
  for (let number = 1; ; number++) {
    const at = (number % PAGES) * PAGE;
    bytes.fill(number & 255, at + 8, at + PAGE);
    view.setFloat64(at, number);
    if (msync(ptr(bytes) + at, PAGE, MS_SYNC) !== 0) throw new Error(`msync of page ${number} failed`);
    writeSync(1, `${number}\n`);
  }
}

function check(file: string, last: number): void {
  const bytes = readFileSync(file);
  for (let number = Math.max(1, last - PAGES + 1); number <= last; number++) {
    const at = (number % PAGES) * PAGE;
    const found = bytes.readDoubleBE(at);
    if (found < number) throw new Error(`page ${number} was synced, and ${found} is there`);
    if (found === number && bytes.subarray(at + 8, at + PAGE).some((byte) => byte !== (number & 255)))
      throw new Error(`page ${number} was synced, and is not whole`);
  }
}

const [what, file = "", last = "0"] = process.argv.slice(2);
if (what === "write") write(file);
else check(file, Number(last));
