/**
 * The promise that the campaigns hold the product to: what a client saw committed is there, whatever happened since.
 *
 * A client commits numbers one after another and says each on a line of its standard output, once it was told that it is committed.
 */
import { join } from "node:path";
import type { Host, MachineProcess } from "../cluster/testbed.ts";
import { until } from "../cluster/testbed.ts";

/** The numbers that a client saw committed. */
export class Ledger {
  readonly committed: number[] = [];
  readonly #client: MachineProcess;
  readonly #reading: Promise<void>;

  private constructor(client: MachineProcess) {
    this.#client = client;
    this.#reading = this.#read();
  }

  /** Starts a client of the server at this address (see ledger_client.ts) on a machine. */
  static open(host: Host, url: string): Promise<Ledger> {
    return Ledger.by(host, [process.execPath, join(import.meta.dir, "ledger_client.ts"), url]);
  }

  /** Starts a client of one's own. */
  static async by(host: Host, argv: readonly string[]): Promise<Ledger> {
    return new Ledger(await host.spawn(argv));
  }

  async #read(): Promise<void> {
    let rest = "";
    const decoder = new TextDecoder();
    for await (const chunk of this.#client.stdout) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop()!;
      for (const line of lines) this.committed.push((JSON.parse(line) as { id: number }).id);
    }
  }

  /** Waits until `count` more numbers are committed: the service works. */
  async moves(count = 3): Promise<void> {
    const enough = this.committed.length + count;
    await until("the client's commits go on", () => this.committed.length >= enough, 60_000);
  }

  /** Throws when a number is missing from what the database says, read after `seen` numbers were committed. */
  static check(seen: readonly number[], database: Iterable<number>): string {
    const there = new Set(database);
    const missing = seen.filter((id) => !there.has(id));
    if (missing.length > 0)
      throw new Error(
        `${missing.length} of ${seen.length} committed transactions are missing: ${missing.slice(0, 10).join(", ")}`,
      );
    return `${seen.length} commits, none missing`;
  }

  async close(): Promise<void> {
    this.#client.signal("SIGKILL");
    await this.#client.exited;
    await this.#reading;
  }
}
