/** A disk of its own for each lab node, with room for neighbours: other data on the same file system. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cutDisk } from "./testbed_disk.ts";

/** Why no disk can be made here, or false. */
export function noDisks(): string | false {
  if (process.getuid?.() !== 0) return "needs root: mounts and loop devices";
  if (!existsSync("/dev/loop-control")) return "needs loop devices";
  for (const tool of ["mkfs.ext4", "filefrag"])
    if (Bun.which(tool) === null) return `needs ${tool} (e2fsprogs)`;
  return false;
}

/** An ext4 file system that commits by itself only after minutes: what is durable sooner was synced. */
export class LabDisk {
  readonly mountPoint: string;
  readonly #image: string;

  /** Makes and mounts it under `base`. */
  constructor(base: string, name: string) {
    mkdirSync(join(base, name), { recursive: true });
    this.mountPoint = join(base, name);
    this.#image = join(base, `${name}.img`);
    execFileSync("truncate", ["-s", "192M", this.#image]);
    execFileSync("mkfs.ext4", ["-q", "-m", "0", "-F", this.#image]);
    this.mount();
    mkdirSync(this.data);
  }

  /** What is replicated. */
  get data(): string {
    return join(this.mountPoint, "data");
  }

  mount(): void {
    execFileSync("mount", ["-o", "loop,commit=600", this.#image, this.mountPoint]);
  }

  /** Opens a view of what is replicated, underneath the mounts that cover it by now. */
  lookUnder(): string {
    const view = `${this.mountPoint}-under`;
    mkdirSync(view);
    execFileSync("mount", ["--bind", this.mountPoint, view]);
    return join(view, "data");
  }

  /** Cuts the power and gives it back: what was not synced is gone. Nobody may run on it. */
  cycle(): void {
    cutDisk(this.mountPoint);
    for (const path of [this.data, `${this.mountPoint}-under`, this.mountPoint])
      spawnSync("umount", [path], { stdio: "ignore" });
    this.mount();
  }

  /** Unmounts and removes everything. */
  remove(): void {
    for (const path of [`${this.mountPoint}-under`, this.mountPoint])
      spawnSync("umount", ["-l", path], { stdio: "ignore" });
    rmSync(this.#image, { force: true });
  }
}

/** Is some of the file's data only in memory, without even a place on the disk? `path` leads to it underneath any mount. */
export function isInMemoryOnly(path: string): boolean {
  return execFileSync("filefrag", ["-v", path], { encoding: "utf8" }).includes("delalloc");
}
