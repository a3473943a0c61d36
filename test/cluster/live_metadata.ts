/**
 * An application that changes names and attributes and never syncs: `live_metadata.ts DATA RECORD NODE`. What a round made is not touched by a later
 * one: a change that did not reach the other node is missing there for good. It tells a round that is over in RECORD/acknowledged, and an error in
 * RECORD/NODE.application.
 */
import {
  appendFileSync,
  chmodSync,
  linkSync,
  mkdirSync,
  renameSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

const [data, record, node] = process.argv.slice(2) as [string, string, string];

function round(number: number): void {
  const at = (name: string): string => join(data, `${number}`, name);
  mkdirSync(at(""));
  for (const name of ["moved", "removed", "changed", "from/deep"]) {
    if (name.includes("/")) mkdirSync(at("from"));
    writeFileSync(at(name), name, { flag: "wx" });
  }
  mkdirSync(at("to"));
  renameSync(at("moved"), at("to/moved"));
  renameSync(at("from"), at("to/from"));
  unlinkSync(at("removed"));
  chmodSync(at("changed"), 0o600 + (number % 64));
  utimesSync(at("changed"), number, number);
  truncateSync(at("changed"), number % 100);
  linkSync(at("changed"), at("to/linked"));
  symlinkSync("changed", at("symlink"));
}

try {
  appendFileSync(join(data, "journal"), "");
  for (let number = Date.now(); ; number++) {
    round(number);
    appendFileSync(join(record, "acknowledged"), `${number}\n`);
  }
} catch (error) {
  appendFileSync(join(record, `${node}.application`), `${(error as Error).stack}\n`);
  process.exit(1);
}
