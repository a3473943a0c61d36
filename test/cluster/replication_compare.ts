/** Are two directories the same, by all that a copy consists of? */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";

/** Every object of a tree in one line: type, mode, owner, size, mtime in ns, links, target, content, extended attributes. */
export function inventory(root: string): Map<string, string> {
  const found = new Map<string, string>();
  const inodes = new Map<bigint, string>();
  const visit = (path: string): void => {
    const full = join(root, path);
    const stat = lstatSync(full, { bigint: true });
    const type = stat.mode & 0o170000n;
    const regular = type === 0o100000n;
    const content = regular
      ? createHash("sha1").update(readFileSync(full)).digest("hex")
      : type === 0o120000n
        ? readlinkSync(full)
        : "";
    const first = inodes.get(stat.ino) ?? path;
    inodes.set(stat.ino, first);
    const links = type === 0o040000n ? "" : `links ${stat.nlink} first ${first}`;
    const size = type === 0o040000n ? "" : stat.size;
    const device = type === 0o020000n || type === 0o060000n ? stat.rdev : "";
    found.set(
      path,
      [stat.mode.toString(8), stat.uid, stat.gid, size, stat.mtimeNs, device, links, content].join(" "),
    );
    if (type !== 0o040000n) return;
    for (const name of readdirSync(full).sort())
      if (path !== "." || name !== ".holdfast") visitIfThere(path === "." ? name : join(path, name));
  };
  // The last removals may still be on their way to SECOND: then the trees differ, and are looked at again.
  const visitIfThere = (path: string): void => {
    try {
      visit(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      found.set(path, "went while it was read");
    }
  };
  visit(".");
  for (const [path, attributes] of extendedAttributes(root))
    found.set(path, `${found.get(path)} ${attributes}`);
  return found;
}

function extendedAttributes(root: string): Map<string, string> {
  const output = spawnSync("getfattr", ["-R", "-P", "-h", "-d", "-m", "-", "-e", "hex", "."], {
    cwd: root,
    maxBuffer: 1 << 28,
  }).stdout.toString();
  const found = new Map<string, string>();
  for (const block of output.split("\n\n")) {
    const [header = "", ...lines] = block.trim().split("\n");
    const shown = lines
      .filter((line) => !line.startsWith("trusted.holdfast=") && !line.startsWith("user.holdfast="))
      .sort();
    const path = header.replace("# file: ", "");
    if (shown.length > 0 && !path.startsWith(".holdfast")) found.set(path, shown.join(","));
  }
  return found;
}

/** What differs, as lines; empty when the trees are equal. */
export function differences(left: string, right: string): string[] {
  const a = inventory(left);
  const b = inventory(right);
  return [...new Set([...a.keys(), ...b.keys()])]
    .filter((path) => a.get(path) !== b.get(path))
    .map((path) => `${path}: ${a.get(path) ?? "missing"} | ${b.get(path) ?? "missing"}`);
}
