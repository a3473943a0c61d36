/**
 * Modules that were removed from this node, and the revision that they had: what a peer still has of it does not come back by itself.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { writeDurably } from "../../platform/durable_file.ts";

const removedSchema = v.record(v.string(), v.string());

async function read(varDir: string): Promise<Record<string, string>> {
  try {
    return v.parse(removedSchema, JSON.parse(await readFile(fileOf(varDir), "utf8")));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw error;
  }
}

function fileOf(varDir: string): string {
  return join(varDir, "state", "removed.json");
}

async function write(varDir: string, removed: Record<string, string>): Promise<void> {
  await writeDurably(fileOf(varDir), `${JSON.stringify(removed, null, 1)}\n`);
}

/** Was the module removed here when it had this revision? */
export async function isRemoved(varDir: string, name: string, revision: string): Promise<boolean> {
  const removed = await read(varDir);
  return Object.hasOwn(removed, name) && removed[name] === revision;
}

/** Notes that it was. */
export async function noteRemoved(varDir: string, name: string, revision: string): Promise<void> {
  await write(varDir, { ...(await read(varDir)), [name]: revision });
}

/** It is here again. */
export async function recallModule(varDir: string, name: string): Promise<void> {
  const { [name]: known, ...others } = await read(varDir);
  if (known !== undefined) await write(varDir, others);
}
