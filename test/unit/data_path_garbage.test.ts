/** What the data path leaves to the garbage collector: nothing for each operation. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { cannotMount } from "../fixtures/mounted.ts";

const skip = cannotMount ?? false;
t.setTimeout(100_000);

/** Past the page cache, so that each call is a request: a write, a read, a change of attributes and a sync. */
const CLIENT = `
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_DIRECT)
block = mmap.mmap(-1, 4096)
for line in sys.stdin:
    for i in range(int(line)):
        os.pwritev(fd, [block], i % 256 * 4096)
        os.preadv(fd, [block], i % 256 * 4096)
        os.utime(fd, (i, i))
        os.stat(fd)
        os.fsync(fd)
    print("done", flush=True)
`;

/** A child whose answers are read a line at a time. */
class Child {
  readonly #process;
  readonly #reader;
  #text = "";
  constructor(command: string[], env: Record<string, string> = {}) {
    this.#process = Bun.spawn(command, {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
      env: { ...process.env, ...env },
    });
    this.#reader = this.#process.stdout.getReader();
  }
  async ask(text: string): Promise<string> {
    this.#process.stdin.write(text);
    await this.#process.stdin.flush();
    return await this.line();
  }
  async line(): Promise<string> {
    while (!this.#text.includes("\n")) {
      const { value, done } = await this.#reader.read();
      if (done) throw new Error(`the child ended: ${this.#text}`);
      this.#text += new TextDecoder().decode(value);
    }
    const [first = "", ...rest] = this.#text.split("\n");
    this.#text = rest.join("\n");
    return first;
  }
  async end(): Promise<void> {
    await this.#process.stdin.end();
    await this.#process.exited;
  }
}

const FEW = 1000;
const MANY = 8000;
/** An empty object takes 16 bytes, one with a property 32. */
const SMALLEST = 16;

/** Bytes of heap that each round of the client takes from the server, when nothing is ever collected. */
async function garbage(mode: string): Promise<number> {
  const base = mkdtempSync(join(tmpdir(), "holdfast-garbage-"));
  const server = new URL("../fixtures/local_mount.ts", import.meta.url).pathname;
  const mirror = new Child([process.execPath, server, base, "fsync", mode], { BUN_JSC_useGC: "0" });
  try {
    await mirror.line();
    const client = new Child(["python3", "-c", CLIENT, join(base, "file")]);
    const taken = async (rounds: number): Promise<number> => {
      const before = Number(await mirror.ask("h"));
      await client.ask(`${rounds}\n`);
      return Number(await mirror.ask("h")) - before;
    };
    // What grows once, and the compiler's work, is no operation's.
    await taken(2 * FEW);
    const few = await taken(FEW);
    const many = await taken(MANY);
    await client.end();
    return (many - few) / (MANY - FEW);
  } finally {
    await mirror.end();
    rmSync(base, { recursive: true, force: true });
  }
}

await t.test("trap 33: no operation leaves an object to the garbage collector", { skip }, async (t) => {
  const bytes = await garbage("");
  t.ok(bytes < SMALLEST, `${bytes.toFixed(1)} bytes for each write, read, change of attributes and sync`);
});

await t.test("one object for each write would be seen", { skip }, async (t) => {
  const bytes = await garbage("wasteful");
  t.ok(bytes >= SMALLEST, `${bytes.toFixed(1)} bytes`);
});

/** Bytes of heap for each operation behind the file system, by name. */
function behind(mode: string): Record<string, number> {
  const script = new URL("../fixtures/stream_garbage.ts", import.meta.url).pathname;
  const ended = Bun.spawnSync([process.execPath, script, mode], {
    env: { ...process.env, BUN_JSC_useGC: "0" },
    stderr: "inherit",
  });
  return JSON.parse(ended.stdout.toString()) as Record<string, number>;
}

await t.test("trap 33: neither does the stream, the loop, or a sync on SECOND", async (t) => {
  for (const [name, bytes] of Object.entries(behind("")))
    t.ok(bytes < SMALLEST, `${bytes.toFixed(1)} bytes for each ${name}`);
  t.ok((behind("wasteful").write ?? 0) >= SMALLEST, "one object for each write would be seen");
});
