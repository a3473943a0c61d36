/** Secrets of the module, as files that exist for this run alone. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { standIn } from "./stand_in.ts";

/** The variable that names the directory (not what is in it). Under plain Deno, set it to a directory of your own. */
export const SECRETS_DIRECTORY = "HOLDFAST_SECRETS";

/** The secret's value as text, without a final line end. Throws with the command that sets it when there is none. */
export function secret(key: string): string {
  const made = madeUp(key);
  return (made ?? readFileSync(secretFile(key), "utf8")).replace(/\r?\n$/, "");
}

/**
 * The path of a file that holds the secret, byte for byte, until this run ends: for programs that want a file, such as `ssh -i`, and for
 * values that are no text. Throws as `secret`.
 */
export function secretFile(key: string): string {
  const made = madeUp(key);
  if (made !== undefined) return temporaryFile(key, made);
  const directory = standIn() ? undefined : process.env[SECRETS_DIRECTORY];
  const module = process.env["HOLDFAST_MODULE"] ?? "NAME";
  const remedy = `list it under secrets in module.yaml, and set it with: holdfast secret set ${module} ${key}`;
  if (directory === undefined) throw new Error(`no secret was handed to this run: ${remedy}`);
  const file = join(directory, key);
  if (!existsSync(file)) throw new Error(`the secret ${key} was not handed to this run: ${remedy}`);
  return file;
}

/** The value in a test. Throws when that cannot be a secret's name. */
function madeUp(key: string): string | undefined {
  if (!/^[A-Za-z][A-Za-z0-9_]*$/.test(key)) throw new Error(`${JSON.stringify(key)} is not a secret's name`);
  return standIn()?.secret(key);
}

function temporaryFile(key: string, value: string): string {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-secret-"));
  process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, key);
  writeFileSync(file, value, { mode: 0o400 });
  return file;
}
