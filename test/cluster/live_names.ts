/**
 * An application that works with names: `live_names.ts DATA RECORD NODE` creates, links, renames and removes without pause. Each operation must succeed
 * exactly once: one that was carried out twice fails, and the application ends with the error in RECORD/NODE.application.
 */
import {
  appendFileSync,
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

const [data, record, node] = process.argv.slice(2) as [string, string, string];
const at = (name: string): string => join(data, name);

/** A file that is open and has no name any more, with these bytes in it. */
function nameless(text: string): number {
  const fd = openSync(at(`nameless ${text}`), "wx+");
  writeSync(fd, text);
  unlinkSync(at(`nameless ${text}`));
  return fd;
}

function round(number: number): void {
  mkdirSync(at(`d${number}`));
  const file = openSync(at(`d${number}/new`), "wx");
  writeSync(file, `${number}\n`);
  fsyncSync(file);
  closeSync(file);
  linkSync(at(`d${number}/new`), at(`d${number}/link`));
  symlinkSync("link", at(`d${number}/symlink`));
  if (statSync(at(`d${number}/symlink`)).nlink !== 2) throw new Error("a link is missing");
  renameSync(at(`d${number}/new`), at("current"));
  unlinkSync(at(`d${number}/link`));
  unlinkSync(at(`d${number}/symlink`));
  rmdirSync(at(`d${number}`));
}

try {
  for (const name of ["d", "current"]) rmSync(at(name), { recursive: true, force: true });
  const journal = openSync(at("journal"), "a");
  const kept = nameless("kept from the beginning");
  const text = Buffer.alloc(64);
  for (let number = Date.now(); ; number++) {
    const open = nameless(`${number}`);
    round(number);
    for (const [fd, wanted] of [
      [open, `${number}`],
      [kept, "kept from the beginning"],
    ] as const) {
      const length = readSync(fd, text, 0, 64, 0);
      if (text.toString("utf8", 0, length) !== wanted) throw new Error(`lost: ${wanted}`);
      fsyncSync(fd);
    }
    closeSync(open);
    writeSync(journal, `${number}\n`);
    fsyncSync(journal);
    appendFileSync(join(record, "acknowledged"), `${number}\n`);
  }
} catch (error) {
  appendFileSync(join(record, `${node}.application`), `${(error as Error).stack}\n`);
  process.exit(1);
}
