/**
 * Starts the guest from the definition in the replicated directory. The first time, that comes from what libvirt knows here.
 */
import { renameSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { $, adopt, defineHook, log } from "holdfast";
import {
  define,
  definitionOf,
  destroy,
  dump,
  exists,
  faultsOf,
  hasDefinition,
  isOurs,
  processOf,
  start,
  stateOf,
} from "../lib/guest.ts";

/** Takes the definition from libvirt into the replicated directory, once and whole. */
async function bringDefinition(vars: Record<string, string>): Promise<void> {
  const file = definitionOf(vars);
  if ((await stateOf(vars)) === null)
    throw new Error(
      `there is no ${file}, and libvirt does not know ${vars.domain} here: put its definition there (virsh dumpxml --inactive), or define it on this node`,
    );
  log(`the definition of ${vars.domain} is from now on ${file}`);
  await writeFile(`${file}.new`, `${await dump(vars)}\n`, { mode: 0o600 });
  await $`sync ${file}.new`;
  renameSync(`${file}.new`, file);
  await $`sync ${vars.directory}`;
}

function checkDefinition(vars: Record<string, string>): void {
  const { errors, warnings } = faultsOf(vars);
  for (const one of warnings) log.warning(`${definitionOf(vars)}: ${one}`);
  if (errors.length > 0) throw new Error(`${definitionOf(vars)}: ${errors.join("; ")}`);
}

export default defineHook(async ({ module, vars }) => {
  if (!hasDefinition(vars)) await bringDefinition(vars);
  const before = await stateOf(vars);
  const isAlive = before !== null && exists(before.state);
  if (isAlive && !(await isOurs(vars, module)))
    throw new Error(
      `${vars.domain} was started here by somebody else: shut it down, then start the module again`,
    );
  if (before?.state === "running") log(`${vars.domain} runs already`);
  else {
    checkDefinition(vars);
    if (isAlive) await destroy(vars);
    await define(vars, module);
    await start(vars);
  }
  // It is a child of libvirt's: fencing does not reach it unless it is named.
  adopt(await processOf(vars));
});
