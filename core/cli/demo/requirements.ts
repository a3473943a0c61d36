/**
 * What this machine lacks for the demo, in one line that says what to type instead.
 */
import { accessSync, constants, existsSync } from "node:fs";

const TOOLS: readonly (readonly [string, string])[] = [
  ["unshare", "util-linux"],
  ["nsenter", "util-linux"],
  ["mount", "util-linux"],
  ["ip", "iproute2"],
  ["bash", "bash"],
];

function mayOpen(device: string): boolean {
  try {
    accessSync(device, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** One line with the remedy, or null when the demo can run here. */
export function demoImpossible(): string | null {
  if (process.platform !== "linux")
    return 'the demo needs Linux; on this machine type: docker run --rm -it --privileged -v "$PWD":/holdfast -w /holdfast node:22 npm run demo';
  const missing = TOOLS.find(([tool]) => !Bun.which(tool));
  if (missing) return `the demo needs the program ${missing[0]}; type: sudo apt-get install ${missing[1]}`;
  if (!existsSync("/dev/fuse")) return "the demo needs /dev/fuse; type: sudo modprobe fuse";
  const root = process.getuid?.() === 0;
  const again = `sudo ${process.execPath.endsWith("/bun") ? "npm run demo" : `${process.execPath} demo`}`;
  if (!mayOpen("/dev/fuse"))
    return root
      ? "the demo needs /dev/fuse, which this container may not open; start it with --privileged"
      : `/dev/fuse may not be opened by this user; type: ${again}`;
  const namespaces = Bun.spawnSync(["unshare", ...outerNamespaces(root), "true"], {
    stdout: "ignore",
    stderr: "ignore",
  });
  if (!namespaces.success)
    return root
      ? "the demo needs namespaces, which this container may not make; start it with --privileged"
      : `this user may not make namespaces; type: ${again}`;
  return null;
}

/** Options of unshare(1) for the namespaces that hold the whole demo. */
export function outerNamespaces(root: boolean): string[] {
  return [...(root ? [] : ["--user", "--map-root-user"]), "--net", "--mount", "--propagation", "private"];
}
