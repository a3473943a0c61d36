/** Words for the module's script log: what a hook prints goes there. Under plain Deno it is standard output. */
import process from "node:process";
import { inspect } from "node:util";
import { standIn } from "./stand_in.ts";

function write(prefix: string, parts: readonly unknown[]): void {
  const text = parts.map((part) => (typeof part === "string" ? part : inspect(part))).join(" ");
  const tested = standIn();
  if (tested) tested.log(`${prefix}${text}`);
  else process.stdout.write(`${prefix}${text}\n`);
}

/** `log("text", value)`; `log.warning` and `log.error` mark the line. */
export const log = Object.assign((...parts: readonly unknown[]) => write("", parts), {
  info: (...parts: readonly unknown[]) => write("", parts),
  warning: (...parts: readonly unknown[]) => write("warning: ", parts),
  error: (...parts: readonly unknown[]) => write("error: ", parts),
});
