/**
 * Whether this node could serve the site, before it has to: appcmd finds it, and its configuration can be read.
 */
import { $, defineHook } from "holdfast";

export default defineHook(async ({ vars }) => {
  const { appcmd, site, pool } = vars as Record<string, string>;
  for (const [kind, name] of [
    ["site", site],
    ["apppool", pool],
  ] as const) {
    // It says what is wrong with the configuration, with file and line, and ends with 1; what is not there ends with 0 and no line.
    const found = await $`${appcmd} list ${kind} /name:${name}`.nothrow().quiet();
    if (found.exitCode !== 0)
      throw new Error(`IIS cannot read its configuration: ${`${found.stdout}${found.stderr}`.trim()}`);
    if (found.stdout.trim() === "")
      throw new Error(`IIS has no ${kind} "${name}" on this node: make it, or fit vars in module.yaml`);
  }
});
