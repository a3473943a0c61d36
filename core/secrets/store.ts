/**
 * The secrets of one node: a file for each module in VAR/secrets, every value sealed to this node's own key.
 *
 * A file is replaced whole and is on stable storage before anything says so: a crash leaves the old values or the new. What is kept in memory
 * is sealed too; a value is in clear only where it is handed to a run of a hook, or sealed to another node.
 *
 * What the seal is for: VAR without VAR/cluster (a backup, a snapshot for support, a disk image of the wrong half) tells the names of secrets
 * and when they were set, not what they are. Who has VAR/cluster too, or is root on the node, reads them.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { syncDirectory } from "../platform/durable_directory.ts";
import { writeDurably } from "../platform/durable_file.ts";
import { MAX_SEALED_CHARACTERS, MAX_SECRET_BYTES, type SealedFor, SecretKey, seal } from "./seal.ts";
import {
  compareVersions,
  digestOf,
  merge,
  nextVersion,
  type SecretEntry,
  type SecretVersion,
} from "./versions.ts";

/** Keys of one module that have a value. */
const MAX_KEYS = 128;
/** With those that were removed. */
const MAX_ENTRIES = 4096;
/** One answer to a node that catches up: no more than keeps a daemon from its heartbeats for some 50 ms. */
const BATCH_CHARACTERS = 4 << 20;
const BATCH_ENTRIES = 100;

const moduleName = v.pipe(v.string(), v.regex(/^[A-Za-z][A-Za-z0-9_-]{0,31}$/, "not a module's name"));
/** A secret's key. Two words are none: as keys of an object they are dropped when it is checked, and the value would be gone after a restart. */
export const secretKeySchema = v.pipe(
  v.string(),
  v.regex(
    /^(?!(?:constructor|prototype)$)[A-Za-z][A-Za-z0-9_]{0,63}$/,
    "not a secret's name: letters, digits and _, starting with a letter, not constructor or prototype",
  ),
);
/** The year 144683: no clock gets there, and what is above it can still be counted. */
const MAX_STAMP = 2 ** 52;
const version = {
  stamp: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_STAMP)),
  node: v.pipe(v.string(), v.maxLength(64)),
  id: v.pipe(v.string(), v.regex(/^[0-9a-f]{16}$/)),
};
const sealed = v.nullable(v.pipe(v.string(), v.maxLength(MAX_SEALED_CHARACTERS), v.base64()));
const fileSchema = v.object({
  version: v.literal(1),
  /** Versions up to this one were here when the module was removed. */
  floor: version.stamp,
  entries: v.record(secretKeySchema, v.object({ ...version, sealed })),
});

/** What a node says that it has, when it catches up: the key to seal to, and versions by module and key. */
export const askSchema = v.strictObject({
  publicKey: v.pipe(v.string(), v.maxLength(64), v.base64()),
  have: v.record(moduleName, v.record(secretKeySchema, v.strictObject(version))),
  /** Where the last answer ended: "MODULE KEY", or "". */
  after: v.pipe(v.string(), v.maxLength(128)),
});
/** What it is answered; `more`: ask again. */
export const offerSchema = v.strictObject({
  entries: v.pipe(
    v.array(v.strictObject({ module: moduleName, key: secretKeySchema, ...version, sealed })),
    v.maxLength(BATCH_ENTRIES),
  ),
  more: v.boolean(),
});
/** See `askSchema`. */
export type SecretAsk = v.InferOutput<typeof askSchema>;
/** See `offerSchema`. */
export type SecretOffer = v.InferOutput<typeof offerSchema>;

/** A version that came from another node, and what it replaces. */
export interface TakenSecret {
  module: string;
  key: string;
  now: SecretEntry;
  before: SecretEntry | null;
}

interface Held {
  floor: number;
  entries: ReadonlyMap<string, SecretEntry>;
  /** Keys whose value this node cannot open: its key was lost. */
  locked: ReadonlySet<string>;
}

const NOTHING: Held = { floor: 0, entries: new Map(), locked: new Set() };

/** A secret that cannot be kept: too many, too large. */
export class SecretRefused extends Error {}

/** See the top of the file. Changes are made one after the other. */
export class SecretStore {
  readonly #directory: string;
  /** Null until it is needed: a node without secrets has none. */
  #key: SecretKey | null = null;
  #keyWasLost = false;
  readonly #modules = new Map<string, Held>();
  #digest: string | null = null;
  #last: Promise<unknown> = Promise.resolve();
  /** What could not be read, for the node's log. */
  readonly troubles: string[] = [];

  /** Reads what is there; what cannot be read is in `troubles`, and counts as absent. */
  constructor(
    private readonly varDir: string,
    private readonly node: string,
  ) {
    this.#directory = join(varDir, "secrets");
    if (!existsSync(this.#directory)) return;
    for (const file of readdirSync(this.#directory))
      if (file.endsWith(".json")) this.#load(file.slice(0, -".json".length));
    if (this.#keyWasLost)
      this.troubles.push("the node's key for secrets was lost: their values come from the other nodes");
  }

  /** Throws when it can be neither read nor made. */
  #nodeKey(): SecretKey {
    if (this.#key === null) {
      const { key, isNew } = SecretKey.openOrMake(this.varDir);
      this.#key = key;
      this.#keyWasLost = isNew;
    }
    return this.#key;
  }

  #load(module: string): void {
    const file = this.#file(module);
    try {
      const { floor, entries } = v.parse(fileSchema, JSON.parse(readFileSync(file, "utf8")));
      const held = new Map<string, SecretEntry>(Object.entries(entries));
      const locked = [...held].filter(([key, entry]) => this.#open(module, key, entry) === null);
      this.#modules.set(v.parse(moduleName, module), {
        floor,
        entries: held,
        locked: new Set(locked.map(([key]) => key)),
      });
    } catch {
      // No message: a parser's may quote what it read.
      this.troubles.push(`${file} is damaged: kept as ${file}.damaged; the values come from the other nodes`);
      renameSync(file, `${file}.damaged`);
    }
  }

  /** Null: this node cannot open it. A removed one is empty. */
  #open(module: string, key: string, entry: SecretEntry): Buffer | null {
    if (entry.sealed === null) return Buffer.alloc(0);
    try {
      return this.#nodeKey().open(entry.sealed, this.#purpose(module, key, entry));
    } catch {
      return null;
    }
  }

  #purpose(module: string, key: string, { stamp, node, id }: SecretVersion): SealedFor {
    return { recipient: this.node, module, key, version: { stamp, node, id } };
  }

  #file(module: string): string {
    return join(this.#directory, `${module}.json`);
  }

  #held(module: string): Held {
    return this.#modules.get(module) ?? NOTHING;
  }

  /** One change after the other; each starts from what the one before has made durable. */
  #serial<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #write(module: string, floor: number, entries: ReadonlyMap<string, SecretEntry>): Promise<void> {
    if (entries.size === 0 && floor === 0) {
      await rm(this.#file(module), { force: true });
      if (existsSync(this.#directory)) syncDirectory(this.#directory);
      this.#modules.delete(module);
      this.#digest = null;
      return;
    }
    const content = { version: 1, floor, entries: Object.fromEntries(entries) };
    await writeDurably(this.#file(module), `${JSON.stringify(content, null, 1)}\n`);
    const before = this.#held(module);
    const locked = [...before.locked].filter((key) => entries.get(key) === before.entries.get(key));
    this.#modules.set(module, { floor, entries, locked: new Set(locked) });
    this.#digest = null;
  }

  /** The same on nodes that hold the same versions. */
  digest(): string {
    this.#digest ??= digestOf([...this.#modules].map(([module, held]) => [module, readable(held)] as const));
    return this.#digest;
  }

  /** Of a module's secrets: when they were set, where, and whether this node can open them. */
  list(module: string): { key: string; version: SecretVersion; isLocked: boolean }[] {
    const { entries, locked } = this.#held(module);
    return [...entries]
      .filter(([, { sealed: value }]) => value !== null)
      .map(([key, { stamp, node, id }]) => ({ key, version: { stamp, node, id }, isLocked: locked.has(key) }))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** Has this key a value that this node can open? */
  has(module: string, key: string): boolean {
    const { entries, locked } = this.#held(module);
    return (entries.get(key)?.sealed ?? null) !== null && !locked.has(key);
  }

  /** Values of these keys, in clear; those that there are. */
  values(module: string, keys: readonly string[]): Record<string, Buffer> {
    const { entries } = this.#held(module);
    const found: Record<string, Buffer> = {};
    for (const key of keys) {
      const entry = entries.get(key);
      if (!entry || entry.sealed === null) continue;
      const value = this.#open(module, key, entry);
      if (value !== null) found[key] = value;
    }
    return found;
  }

  /** Sets a value, durably; null removes it. Throws SecretRefused. */
  set(module: string, key: string, value: Uint8Array | null): Promise<SecretVersion> {
    return this.#serial(async () => {
      const { floor, entries } = this.#held(module);
      if (value !== null && value.length > MAX_SECRET_BYTES)
        throw new SecretRefused(
          `a secret has at most ${MAX_SECRET_BYTES} bytes, and this one ${value.length}`,
        );
      const id = randomBytes(8).toString("hex");
      const next = nextVersion(entries.values(), floor, Date.now(), this.node, id);
      if (next.stamp > MAX_STAMP)
        throw new SecretRefused(`no version of ${key} is left: remove ${module} everywhere, and begin anew`);
      const text = value && seal(value, this.#nodeKey().publicKey, this.#purpose(module, key, next));
      const changed = new Map(entries).set(key, { ...next, sealed: text });
      checkCount(module, changed);
      await this.#write(module, floor, changed);
      return next;
    });
  }

  /** The module is removed here: its secrets go, and do not come back from other nodes before `recall`. */
  forget(module: string): Promise<void> {
    return this.#serial(async () => {
      const { floor, entries } = this.#held(module);
      if (entries.size === 0) return;
      const newest = Math.max(floor, ...[...entries.values()].map(({ stamp }) => stamp));
      await this.#write(module, newest, new Map());
    });
  }

  /** The module is here again. True when the other nodes may have secrets that this node now takes. */
  recall(module: string): Promise<boolean> {
    return this.#serial(async () => {
      const { floor, entries } = this.#held(module);
      if (floor === 0) return false;
      await this.#write(module, 0, entries);
      return true;
    });
  }

  /** What this node asks another for; `after`: see `askSchema`. */
  ask(after: string): SecretAsk {
    const have: SecretAsk["have"] = {};
    for (const [module, held] of this.#modules)
      have[module] = Object.fromEntries(
        [...readable(held)].map(([key, { stamp, node, id }]) => [key, { stamp, node, id }]),
      );
    return { publicKey: this.#nodeKey().publicKey, have, after };
  }

  /** What a node that asks lacks, sealed to its key, in the order of names. */
  give(recipient: string, { publicKey, have, after }: SecretAsk): SecretOffer {
    const offer: SecretOffer = { entries: [], more: false };
    let characters = 0;
    for (const { place, module, key, entry } of this.#inOrder()) {
      const theirs = have[module]?.[key];
      if (place <= after || (theirs && compareVersions(entry, theirs) <= 0)) continue;
      if (characters > BATCH_CHARACTERS || offer.entries.length === BATCH_ENTRIES)
        return { ...offer, more: true };
      const { stamp, node, id } = entry;
      let text: string | null = null;
      if (entry.sealed !== null) {
        const value = this.#open(module, key, entry)!;
        text = seal(value, publicKey, { recipient, module, key, version: { stamp, node, id } });
        value.fill(0);
        characters += text.length;
      }
      offer.entries.push({ module, key, stamp, node, id, sealed: text });
    }
    return offer;
  }

  #inOrder(): { place: string; module: string; key: string; entry: SecretEntry }[] {
    return [...this.#modules]
      .flatMap(([module, held]) =>
        [...readable(held)].map(([key, entry]) => ({ place: `${module} ${key}`, module, key, entry })),
      )
      .sort((a, b) => (a.place < b.place ? -1 : 1));
  }

  /** Takes what another node has, durably. Throws when any of it does not open or is too much; then nothing of it is taken. */
  take(offer: SecretOffer): Promise<TakenSecret[]> {
    return this.#serial(async () => {
      const byModule = new Map<string, Map<string, SecretEntry>>();
      for (const { module, key, ...entry } of offer.entries) {
        if (this.#open(module, key, entry) === null)
          throw new SecretRefused(`${module} ${key} is not sealed to this node, or damaged`);
        byModule.set(module, (byModule.get(module) ?? new Map<string, SecretEntry>()).set(key, entry));
      }
      const taken: TakenSecret[] = [];
      const changed = new Map<string, Map<string, SecretEntry>>();
      for (const [module, theirs] of byModule) {
        const held = this.#held(module);
        const base = new Map(held.entries);
        // The same version, which can be opened again.
        for (const key of held.locked) if (same(base.get(key), theirs.get(key))) base.delete(key);
        const merged = merge(base, theirs, held.floor);
        checkCount(module, merged);
        for (const [key, now] of merged)
          if (now !== held.entries.get(key))
            taken.push({ module, key, now, before: held.entries.get(key) ?? null });
        changed.set(module, merged);
      }
      for (const module of new Set(taken.map((one) => one.module)))
        await this.#write(module, this.#held(module).floor, changed.get(module)!);
      return taken;
    });
  }
}

function same(one: SecretEntry | undefined, other: SecretEntry | undefined): boolean {
  return one !== undefined && other !== undefined && compareVersions(one, other) === 0;
}

function readable({ entries, locked }: Held): ReadonlyMap<string, SecretEntry> {
  return new Map([...entries].filter(([key]) => !locked.has(key)));
}

function checkCount(module: string, entries: ReadonlyMap<string, SecretEntry>): void {
  const live = [...entries.values()].filter(({ sealed: value }) => value !== null).length;
  if (live > MAX_KEYS || entries.size > MAX_ENTRIES)
    throw new SecretRefused(
      `${module} has too many secrets: at most ${MAX_KEYS}, and ${MAX_ENTRIES} with those that were removed`,
    );
}
