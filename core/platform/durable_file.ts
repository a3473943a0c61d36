/** Small files that are replaced whole: after a crash there is the old one or the new one, never a part. */
import { open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { makeDirectoryDurably } from "./durable_directory.ts";

/** By file, the last write of it: two at once would share the temporary file, and leave a mixture of both. */
const writing = new Map<string, Promise<void>>();

/**
 * Replaces `file` by `content` so that a crash leaves either the old or the new, and the new is on stable storage. Mode 0600. Of several calls the last
 * one's content stays.
 */
export async function writeDurably(file: string, content: string): Promise<void> {
  const before = writing.get(file) ?? Promise.resolve();
  const work = before.catch(() => undefined).then(() => replace(file, content));
  writing.set(file, work);
  try {
    await work;
  } finally {
    if (writing.get(file) === work) writing.delete(file);
  }
}

async function replace(file: string, content: string): Promise<void> {
  const directory = dirname(file);
  makeDirectoryDurably(directory);
  const temporary = `${file}.new`;
  const handle = await open(temporary, "w", 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
  const parent = await open(directory, "r");
  try {
    await parent.sync();
  } finally {
    await parent.close();
  }
}
