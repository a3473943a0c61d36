/** Secrets of the module, as files that exist for this run alone. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { SECRETS_DIRECTORY } from "../secret_files.ts";

/** The secret's value, without a final line end. Throws with the command that sets it when there is none. */
export function secret(key: string): string {
  if (!/^[A-Za-z][A-Za-z0-9_]*$/.test(key)) throw new Error(`${JSON.stringify(key)} is not a secret's name`);
  const directory = process.env[SECRETS_DIRECTORY];
  const module = process.env["HOLDFAST_MODULE"] ?? "NAME";
  const remedy = `list it under secrets in module.yaml, and set it with: holdfast secret set ${module} ${key}`;
  if (directory === undefined) throw new Error(`no secret was handed to this run: ${remedy}`);
  try {
    return readFileSync(join(directory, key), "utf8").replace(/\r?\n$/, "");
  } catch (cause) {
    throw new Error(`the secret ${key} was not handed to this run: ${remedy}`, { cause });
  }
}
