/**
 * Whether this node could serve the site, before it has to: appcmd finds it, and its configuration can be read.
 */
import { defineHook } from "holdfast";
import { appcmd } from "../lib/appcmd.ts";

export default defineHook(async ({ vars }) => {
  const { site, pool } = vars as Record<string, string>;
  for (const [kind, name] of [
    ["site", site],
    ["apppool", pool],
  ] as const) {
    // It says what is wrong with the configuration, with file and line, and fails; for what is not there it says nothing.
    const { exitCode, stdout, stderr } = await appcmd(vars, "list", kind, `/name:${name}`).nothrow().quiet();
    if (exitCode !== 0) throw new Error(`IIS cannot read its configuration: ${`${stdout}${stderr}`.trim()}`);
    if (stdout.trim() === "")
      throw new Error(`IIS has no ${kind} "${name}" on this node: make it, or fit vars in module.yaml`);
  }
});
