/** Words for the module's script log. */

function write(prefix: string, parts: readonly unknown[]): void {
  const text = parts.map((part) => (typeof part === "string" ? part : Bun.inspect(part))).join(" ");
  process.stdout.write(`${prefix}${text}\n`);
}

/** `log("text", value)`; `log.warning` and `log.error` mark the line. */
export const log = Object.assign((...parts: readonly unknown[]) => write("", parts), {
  info: (...parts: readonly unknown[]) => write("", parts),
  warning: (...parts: readonly unknown[]) => write("warning: ", parts),
  error: (...parts: readonly unknown[]) => write("error: ", parts),
});
