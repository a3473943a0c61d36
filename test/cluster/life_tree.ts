/**
 * Everything about a tree that both copies of a mirror must agree on (G7), as lines that can be compared: names, types, content, modes,
 * owners, mtimes, symbolic links, hard links, device numbers, extended attributes and ACLs.
 */
import type { Node } from "./testbed.ts";

const OURS = "-path ./.holdfast -prune -o";
/** However large a tree a campaign has made, ms. */
const LONGEST_MS = 600_000;

/** Name to description, sorted by name. Inode numbers are told as the first name of the same inode. */
export async function treeOf(node: Node, directory: string): Promise<Map<string, string>> {
  const list = async (command: string): Promise<string> =>
    (await node.exec(["bash", "-o", "pipefail", "-c", command], { cwd: directory, timeoutMs: LONGEST_MS }))
      .stdout;
  const [stats, sums, attributes] = await Promise.all([
    list(
      `find . ${OURS} -printf '%P\\t%y %m %U:%G %T@ %n -> %l\\t%i\\t' \\( -type d -printf '\\0' -o -printf '%s\\0' \\)`,
    ),
    list(`find . ${OURS} -type f -print0 | sort -z | xargs -0r sha256sum -z`),
    list(`find . ${OURS} -print0 | sort -z | xargs -0r getfattr -h -d -m - -e hex`),
  ]);
  const rows = stats
    .split("\0")
    .filter(Boolean)
    .map((row) => row.split("\t") as [string, string, string, string]);
  rows.sort(([a], [b]) => (a < b ? -1 : 1));
  const firstName = new Map<string, string>();
  for (const [name, , inode] of rows) if (!firstName.has(inode)) firstName.set(inode, name);
  const tree = new Map(
    rows.map(([name, stat, inode, size]) => [name, `${stat} ${size} = ${firstName.get(inode)}`]),
  );
  const add = (name: string, more: string): void => {
    tree.set(name, `${tree.get(name)} ${more}`);
  };
  for (const row of sums.split("\0").filter(Boolean)) add(row.slice(68), row.slice(0, 64));
  for (const block of attributes.split("\n\n").filter(Boolean)) {
    const [title, ...lines] = block.split("\n");
    const name = title!.replace(/^# file: (\.\/)?/, "").replace(/^\.$/, "");
    for (const line of lines.sort()) if (line && !line.startsWith("trusted.holdfast=")) add(name, line);
  }
  return tree;
}

/** What differs between two trees, one line a name. */
export function differences(one: Map<string, string>, other: Map<string, string>): string[] {
  const names = new Set([...one.keys(), ...other.keys()]);
  return [...names]
    .filter((name) => one.get(name) !== other.get(name))
    .map((name) => `${name}: ${one.get(name)} | ${other.get(name)}`);
}
