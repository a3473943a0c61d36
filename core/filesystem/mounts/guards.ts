/** What must be true of the replicated directories before a copy is served or followed, and what is cleaned up first. */
import { readdirSync, realpathSync, statSync } from "node:fs";
import type { ReplicationConfig } from "../control.ts";
import { PRIVATE_NAME } from "../objects/identity.ts";
import { clearDeadMount } from "./mount.ts";
import { mountsBelow, usersOf } from "./mount_table.ts";
import { uncover } from "./read_only_view.ts";

/** Cleans up after a crash, then refuses what would end in two different copies. Throws, naming what is in the way and what to do. */
export function prepareDirectories(config: ReplicationConfig): void {
  for (const { path, notEmpty } of config.paths) {
    clearDeadMount(path);
    uncover(path);
    requireDirectory(path);
    const real = realpathSync(path);
    if (real !== path) {
      throw new Error(
        `${path} leads through a symbolic link, and what is mounted there could not be told from it: name ${real} in module.yaml`,
      );
    }
    if (notEmpty && readdirSync(path).every((name) => name === PRIVATE_NAME)) {
      throw new Error(
        `${path} is empty, and the module says that it must not be (notEmpty): is its disk mounted?`,
      );
    }
    const below = mountsBelow(path);
    if (below.length > 0) {
      throw new Error(
        `${path} cannot be replicated: other file systems are mounted inside it (${below.join(", ")}); unmount them or replicate them as paths of their own`,
      );
    }
    const users = usersOf(path);
    if (users.length > 0) {
      const named = users.slice(0, 5).map(({ pid, command, file }) => `${command} (pid ${pid}, ${file})`);
      throw new Error(
        `${path} is in use beside Holdfast, which could not replicate what is written there: ${named.join(", ")}; stop them first`,
      );
    }
  }
}

function requireDirectory(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) throw new Error(`${path} does not exist: make the directory, or mount its disk`);
  if (!found.isDirectory()) throw new Error(`${path} is not a directory`);
}
