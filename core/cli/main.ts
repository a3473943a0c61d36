/**
 * The entry of the binary: its internal processes first, else the command line.
 *
 * Each process loads only what it needs, hence the dynamic imports; their paths are literal so that they are bundled.
 */
import { leaveForeignEnvironment } from "./environment.ts";

leaveForeignEnvironment();
const words = process.argv.slice(2);
switch (words[0]) {
  case "__hook": {
    const { runHookChild } = await import("../../hooks/child.ts");
    await runHookChild();
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
