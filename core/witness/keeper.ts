/**
 * What a Holdfast witness keeps for one cluster: a file for each module, on stable storage before anything is answered that depends on it; and in memory alone,
 * until when each lease lasts.
 *
 * So a lease never survives the process. What the former one may have granted is not known to the next: for the length of a lease from its start it grants
 * nothing, but to the holder that is on disk and still counts on its own lease: that one takes nothing from anybody. A witness that lost its files too knows no
 * cluster, and answers none.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { writeDurably } from "../platform/durable_file.ts";
import { PATIENCE } from "./lease_watch.ts";
import type { WitnessAnswer, WitnessRequest } from "./protocol.ts";
import { newMark } from "./stored_record.ts";
import { ABSENT, NO_RECORD, type WitnessRecord } from "./witness.ts";

/** More modules than a cluster may have, with those that were removed. */
const MOST_MODULES = 128;

const word = v.pipe(v.string(), v.maxLength(64));
const fileSchema = v.object({
  version: v.literal(1),
  generation: v.nullable(word),
  sole: v.nullable(word),
  mark: word,
  holder: v.nullable(word),
  leaseMs: v.pipe(v.number(), v.minValue(0)),
});
type Kept = Omit<v.InferOutput<typeof fileSchema>, "version">;

const NOTHING: Kept = { generation: null, sole: null, mark: ABSENT, holder: null, leaseMs: 0 };

interface Module {
  kept: Kept;
  /** When the lease of `kept.holder` ends, on this process's clock. */
  until: number;
  /** The last that was granted since this process began. */
  lease: string | null;
  last: Promise<unknown>;
}

/** A request that cannot be answered; the message is for the asker. */
export class WitnessRefusal extends Error {}

/** See the top of the file. */
export class RecordKeeper {
  readonly #modules = new Map<string, Module>();
  readonly #began: number;

  /** `clock`: ms, counts a suspended machine. Throws when a file cannot be trusted: "nothing was there" is no reading of it. */
  constructor(
    private readonly directory: string,
    private readonly clock: () => number,
  ) {
    this.#began = clock();
    if (!existsSync(directory)) return;
    for (const file of readdirSync(directory).filter((name) => name.endsWith(".json"))) {
      const path = join(directory, file);
      let kept: Kept;
      try {
        kept = v.parse(fileSchema, JSON.parse(readFileSync(path, "utf8")));
      } catch (error) {
        throw new Error(
          `${path} is damaged (${(error as Error).message}): restore it, or enrol its cluster with a new witness`,
        );
      }
      this.#modules.set(file.slice(0, -".json".length), {
        kept,
        until: Number.NEGATIVE_INFINITY,
        lease: null,
        last: Promise.resolve(),
      });
    }
  }

  /** What is on record, by module. */
  all(): Record<string, WitnessRecord> {
    return Object.fromEntries([...this.#modules].map(([name, module]) => [name, this.#shown(module)]));
  }

  /** Asks for the lease, for `node`. Rejects with WitnessRefusal. */
  renew(node: string, { module, leaseMs, holds }: WitnessRequest["renew"]): Promise<WitnessAnswer["renew"]> {
    return this.#serial(module, async (known) => {
      const now = this.clock();
      const other = this.#other(known, node, leaseMs, holds, now);
      if (other !== null) return { kind: "refused", ...other, record: this.#shown(known) };
      const { kept } = known;
      // While it is the same holder, the longest lease counts: the former one may last longer than the new one.
      const longest = kept.holder === node ? Math.max(kept.leaseMs, leaseMs) : leaseMs;
      if (kept.holder !== node || kept.leaseMs !== longest)
        await this.#keep(module, known, { ...kept, holder: node, leaseMs: longest });
      const until = now + leaseMs * PATIENCE;
      known.until = kept.holder === node ? Math.max(known.until, until) : until;
      known.lease = newMark();
      return { kind: "granted", record: this.#shown(known), lease: known.lease };
    });
  }

  /** Compare-and-swap of who alone may go on. Rejects with WitnessRefusal. */
  recordSole(
    node: string,
    { module, sole, generation, expected, holds }: WitnessRequest["sole"],
  ): Promise<WitnessAnswer["sole"]> {
    return this.#serial(module, async (known) => {
      const { kept } = known;
      if (kept.sole === sole && kept.generation === generation)
        return { kind: "recorded", record: this.#shown(known) };
      if (sole !== null && sole !== node) throw new WitnessRefusal(`${node} cannot speak for ${sole}`);
      const other = this.#other(known, node, kept.leaseMs, holds, this.clock());
      if (other !== null) return { kind: "refused", why: other.why, record: this.#shown(known) };
      if (kept.mark !== expected)
        return { kind: "refused", why: "the record was changed", record: this.#shown(known) };
      await this.#keep(module, known, { ...kept, sole, generation, mark: newMark() });
      return { kind: "recorded", record: this.#shown(known) };
    });
  }

  /** The record as it is. */
  read({ module }: WitnessRequest["read"]): Promise<WitnessAnswer["read"]> {
    return this.#serial(module, async (known) => ({ kind: "record", record: this.#shown(known) }));
  }

  /** This lease of `node` ends, if it has it: a word that was long under way does not end a later one. */
  release(node: string, { module, lease }: WitnessRequest["release"]): Promise<WitnessAnswer["release"]> {
    return this.#serial(module, async (known) => {
      if (known.kept.holder === node && known.lease === lease) {
        await this.#keep(module, known, { ...known.kept, holder: null, leaseMs: 0 });
        known.until = Number.NEGATIVE_INFINITY;
      }
      return { kind: "released" };
    });
  }

  /** Who has the lease instead of `node`, or why nobody gets it; null: `node` may have it. */
  #other(
    { kept, until }: Module,
    node: string,
    leaseMs: number,
    holds: boolean,
    now: number,
  ): { holder: string | null; why: string } | null {
    const isHolder = kept.holder === node;
    if (isHolder && (holds || now < until)) return null;
    const settled = this.#began + Math.max(kept.leaseMs, leaseMs) * PATIENCE;
    if (now < settled)
      return {
        holder: kept.holder,
        why: "the witness has just started: for the length of a lease it grants nothing new",
      };
    if (isHolder || kept.holder === null || now >= until) return null;
    return { holder: kept.holder, why: `${kept.holder} holds the lease` };
  }

  #shown({ kept, until }: Module): WitnessRecord {
    if (kept === NOTHING) return NO_RECORD;
    const now = this.clock();
    const isHeld = now < until || now < this.#began + kept.leaseMs * PATIENCE;
    const { generation, sole, mark } = kept;
    return { generation, sole, holder: isHeld ? kept.holder : null, version: mark };
  }

  async #keep(name: string, module: Module, kept: Kept): Promise<void> {
    await writeDurably(join(this.directory, `${name}.json`), `${JSON.stringify({ version: 1, ...kept })}\n`);
    module.kept = kept;
  }

  /** One request after the other for each module. */
  #serial<Answer>(name: string, work: (module: Module) => Promise<Answer>): Promise<Answer> {
    let module = this.#modules.get(name);
    if (!module) {
      if (this.#modules.size >= MOST_MODULES)
        return Promise.reject(new WitnessRefusal(`a cluster has ${MOST_MODULES} modules at most here`));
      module = { kept: NOTHING, until: Number.NEGATIVE_INFINITY, lease: null, last: Promise.resolve() };
      this.#modules.set(name, module);
    }
    const known = module;
    const done = known.last.then(() => work(known));
    known.last = done.catch(() => undefined);
    return done;
  }
}
