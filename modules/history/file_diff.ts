/** What differs between two states of a module's files, as `git diff` writes it. Pure. */
import { byName, unifiedHunks } from "./line_diff.ts";
import type { ModuleFile, ModuleFiles } from "./module_files.ts";

/** The difference as text, a patch that `git apply` takes where no file is binary; "" when there is none. */
export function diffFiles(from: ModuleFiles, to: ModuleFiles): string {
  const paths = [...new Set([...from.keys(), ...to.keys()])].sort(byName);
  return paths.map((path) => diffFile(path, from.get(path), to.get(path))).join("");
}

const modeOf = ({ executable }: ModuleFile): string => (executable ? "100755" : "100644");
const isBinary = (file: ModuleFile | undefined): boolean => file?.content.includes(0) ?? false;

function diffFile(path: string, from: ModuleFile | undefined, to: ModuleFile | undefined): string {
  const isSame = from && to && from.content.equals(to.content);
  if (isSame && from.executable === to.executable) return "";
  const head = [`diff --git a/${path} b/${path}\n`];
  if (!from) head.push(`new file mode ${modeOf(to!)}\n`);
  else if (!to) head.push(`deleted file mode ${modeOf(from)}\n`);
  else if (from.executable !== to.executable) head.push(`old mode ${modeOf(from)}\nnew mode ${modeOf(to)}\n`);
  if (isSame) return head.join("");
  if (isBinary(from) || isBinary(to)) return `${head.join("")}Binary files a/${path} and b/${path} differ\n`;
  const hunks = unifiedHunks(from?.content.toString("utf8") ?? "", to?.content.toString("utf8") ?? "");
  const names = `--- ${from ? `a/${path}` : "/dev/null"}\n+++ ${to ? `b/${path}` : "/dev/null"}\n`;
  return `${head.join("")}${hunks === "" ? "" : names + hunks}`;
}
