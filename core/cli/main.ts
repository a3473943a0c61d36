/**
 * The entry of the binary: its internal processes first, else the command line.
 *
 * Each process loads only what it needs, hence the dynamic imports; their paths are literal so that they are bundled.
 */
import { leaveForeignEnvironment } from "./environment.ts";

leaveForeignEnvironment();
const words = process.argv.slice(2);
/** The value of an option of an internal process: they are started by this program only. */
function optionOf(name: string): string {
  const value = words[words.indexOf(name) + 1];
  if (!words.includes(name) || value === undefined)
    throw new Error(`${words[0]} was started without ${name}`);
  return value;
}

switch (words[0]) {
  case "__guardian": {
    const { runGuardian } = await import("../daemon/guardian/guardian.ts");
    runGuardian(optionOf("--var"));
    break;
  }
  case "__replication": {
    const { runReplicationProcess } = await import("../filesystem/process.ts");
    runReplicationProcess(words.slice(1));
    break;
  }
  case "__hook": {
    const { runHookChild } = await import("../../hooks/child.ts");
    await runHookChild();
    break;
  }
  case "__disk": {
    const { runDiskChild } = await import("../checks/probes/disk_child.ts");
    runDiskChild(words[1]!, words[2] === "write");
    break;
  }
  case "__test": {
    const { runTestChild } = await import("../../hooks/test_child.ts");
    runTestChild(words[1]!, words[2]!, words[3] ?? "");
    break;
  }
  case "__revision": {
    const { runRevisionProcess } = await import("../daemon/revisions/process.ts");
    await runRevisionProcess();
    break;
  }
  case "__demo": {
    const { runDemoPart } = await import("./demo/demo.ts");
    process.exitCode = await runDemoPart(words.slice(1));
    break;
  }
  default: {
    const { runCommandLine } = await import("./command_line.ts");
    process.exitCode = await runCommandLine(words);
  }
}
