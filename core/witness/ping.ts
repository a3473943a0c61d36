/**
 * Addresses that answer to ping, or do not: a node that reaches one of them is not cut off. They record nothing, and two nodes that both reach one are both told
 * yes: this is an opinion about one's own network, never a right.
 */
import { openEcho } from "../network/echo.ts";
import type { ProbeAnswer, ReachabilityWitness } from "./witness.ts";

/** A lost packet is not a lost network: asked this many times within the deadline. */
const TRIES = 4;

/** See the top of the file. */
export class PingWitness implements ReachabilityWitness {
  readonly records = false;
  readonly name: string;
  #isClosed = false;

  /** `deadlineMs`: for each call. */
  constructor(
    private readonly addresses: readonly string[],
    private readonly deadlineMs: number,
  ) {
    this.name = `ping ${addresses.join(", ")}`;
  }

  async isReached(): Promise<boolean> {
    return (await this.#firstToAnswer()) !== null;
  }

  async probe(): Promise<ProbeAnswer> {
    const address = await this.#firstToAnswer();
    return address === null
      ? { answers: false, detail: "none of them answers" }
      : { answers: true, detail: `${address} answers` };
  }

  close(): void {
    this.#isClosed = true;
  }

  #firstToAnswer(): Promise<string | null> {
    if (this.#isClosed) return Promise.resolve(null);
    const { promise, resolve } = Promise.withResolvers<string | null>();
    const echoes = this.addresses.flatMap((address) => {
      try {
        return [openEcho(address, () => resolve(address))];
      } catch {
        return []; // No way there: another address may have one.
      }
    });
    const ask = (): void => {
      for (const echo of echoes)
        try {
          echo.ask();
        } catch {
          // Likewise.
        }
    };
    ask();
    const again = setInterval(ask, this.deadlineMs / TRIES);
    const end = setTimeout(() => resolve(null), this.deadlineMs);
    return promise.finally(() => {
      clearInterval(again);
      clearTimeout(end);
      for (const echo of echoes) echo.close();
    });
  }
}
