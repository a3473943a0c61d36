/**
 * Starts the demo's application with the same binary that runs this hook, and returns when it answers.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { open } from "node:fs/promises";
import { defineHook, waitFor } from "holdfast";

/** Writes `mebibytes` of noise that stays as it is. */
async function writeArchive(file: string, mebibytes: number): Promise<void> {
  const handle = await open(file, "w");
  for (let index = 0; index < mebibytes; index++) await handle.write(randomBytes(1 << 20));
  await handle.sync();
  await handle.close();
}

export default defineHook(async ({ vars, dir }) => {
  const { data, address, port, archive, journal } = vars;
  if (!existsSync(`${data}/archive.bin`)) await writeArchive(`${data}/archive.bin`, Number(archive));
  spawn(process.execPath, ["run", `${dir}/app.ts`, `${data}/orders.db`, address!, port!, journal!], {
    detached: true,
    stdio: "ignore",
  }).unref();
  await waitFor(async () => (await fetch(`http://${address}:${port}/`)).ok);
});
