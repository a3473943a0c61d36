/** Two names trade places in one step, so that a crash finds the one or the other, never nothing. */
import { renameSync } from "node:fs";
import { AT_FDCWD, RENAME_EXCHANGE } from "./constants.ts";
import { renameat2, withString } from "./libc.ts";

/** Exchanges two paths of one file system; where it cannot, in three renames. Throws when neither works. */
export function exchange(from: string, to: string): void {
  const result = withString(from, (a) =>
    withString(to, (b) => renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE)),
  );
  if (result >= 0) return;
  renameSync(to, `${from}.old`);
  renameSync(from, to);
  renameSync(`${from}.old`, from);
}
