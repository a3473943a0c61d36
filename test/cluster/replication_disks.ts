/** A disk of its own for each lab node, with room for neighbours: other data on the same file system. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { cutDisk } from "./testbed_disk.ts";

/** Why no disk can be made here, or false. */
export function noDisks(): string | false {
  if (process.getuid?.() !== 0) return "needs root: mounts and loop devices";
  if (!existsSync("/dev/loop-control")) return "needs loop devices";
  for (const tool of ["mkfs.ext4", "filefrag", "debugfs"])
    if (Bun.which(tool) === null) return `needs ${tool} (e2fsprogs)`;
  return false;
}

/** Of a file system as small as this one, bytes. */
const BLOCK = 1024;
const INODE = 256;

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
    // Nothing is written behind what is used: a disk that was cut short would grow again.
    execFileSync("mount", ["-o", "loop,commit=600,noinit_itable", this.#image, this.mountPoint]);
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
    for (const path of [this.data, `${this.mountPoint}-under`])
      spawnSync("umount", [path], { stdio: "ignore" });
    this.#mountAnew();
  }

  /** Forgets what is in memory of the disk. Nobody may run on it. */
  remount(): void {
    execFileSync("sync", ["-f", this.mountPoint]);
    this.#mountAnew();
  }

  /** By another image: somebody else's mount namespace may still hold the mount, and the kernel would show the same file system again. */
  #mountAnew(): void {
    execFileSync("umount", [this.mountPoint]);
    execFileSync("cp", ["--sparse=always", this.#image, `${this.#image}.fresh`]);
    renameSync(`${this.#image}.fresh`, this.#image);
    this.mount();
  }

  /** Spoils the directory at `path` below what is replicated: its checksum is wrong, its names cannot be read. Returns what mends it. */
  spoilNames(path: string): () => void {
    return this.#spoil(this.#ask(`bmap /data/${path} 0`, /^(\d+)/m) * BLOCK, BLOCK);
  }

  /** The same for the extended attributes of a file that have a block of their own. */
  spoilAttributes(path: string): () => void {
    return this.#spoil(this.#ask(`stat /data/${path}`, /File ACL: (\d+)/) * BLOCK, BLOCK);
  }

  /** The same for an inode: the name is there, what it leads to is not. */
  spoilInode(path: string): () => void {
    const block = this.#ask(`imap /data/${path}`, /located at block (\d+)/);
    const within = this.#ask(`imap /data/${path}`, /offset (0x[0-9a-f]+)/);
    return this.#spoil(block * BLOCK + within, INODE);
  }

  /** From this byte of a file on, which lies behind everything else, the disk ends. Returns what mends it. */
  spoilData(path: string, from: number): () => void {
    const at = this.#ask(`bmap /data/${path} ${from / BLOCK}`, /^(\d+)/m) * BLOCK;
    const { size } = statSync(this.#image);
    const lost = Buffer.alloc(size - at);
    const read = openSync(this.#image, "r");
    readSync(read, lost, 0, lost.length, at);
    closeSync(read);
    truncateSync(this.#image, at);
    return () => {
      const write = openSync(this.#image, "r+");
      writeSync(write, lost, 0, lost.length, at);
      closeSync(write);
    };
  }

  /** A number that debugfs(8) tells. */
  #ask(request: string, answer: RegExp): number {
    const told = execFileSync("debugfs", ["-R", request, this.#image], { encoding: "utf8", stdio: "pipe" });
    const found = answer.exec(told)?.[1];
    if (found === undefined) throw new Error(`debugfs ${request}: ${told}`);
    return Number(found);
  }

  /** Through the device that is mounted: the file system has no other memory of its blocks. */
  #spoil(at: number, length: number): () => void {
    const device = execFileSync("findmnt", ["-fno", "SOURCE", this.mountPoint], { encoding: "utf8" }).trim();
    const was = Buffer.alloc(length);
    const disk = openSync(device, "r+");
    readSync(disk, was, 0, length, at);
    writeSync(disk, Buffer.alloc(length, 0x5a), 0, length, at);
    closeSync(disk);
    return () => {
      const mended = openSync(device, "r+");
      writeSync(mended, was, 0, length, at);
      closeSync(mended);
    };
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
