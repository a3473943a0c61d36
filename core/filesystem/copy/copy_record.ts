/**
 * Which copy this is, how far it is, and how far its peer was (trap 12a).
 *
 * A machine, a disk or a var directory that is put back to an older state looks equal by its generation. So each durable point has a
 * number, kept in the state directory and inside the data, on both nodes: data that do not fit their state, or a copy that is behind
 * what its peer remembers of it, were restored, and their marks say nothing about what they lack.
 */
import { randomUUID } from "node:crypto";
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { O_CLOEXEC, O_CREAT, O_RDWR } from "../../platform/linux/constants.ts";
import { check, errnos } from "../../platform/linux/errno.ts";
import {
  allocate,
  close,
  cString,
  fdatasync,
  fsync,
  open,
  openat,
  pread,
  pwrite,
} from "../../platform/linux/libc.ts";
import { type Completion, Job, type Pool } from "../loop/pool.ts";
import { openPrivate, PRIVATE_NAME } from "../objects/identity.ts";

/** A record is one sector: written whole, or not at all. */
const SECTOR = 512;
const NAME = "copy";
/** Each crash between the two writes of a point leaves the data one ahead of their state; more than this many in a row are a restored state. */
const CRASHES = 2;
const nameAddress = cString(NAME);
/** A few small files, each in one read. */
const READ_PATIENCE_MS = 1000;

const known = v.object({
  id: v.pipe(v.string(), v.maxLength(64)),
  counter: v.pipe(v.number(), v.safeInteger()),
  /** It is being copied in full, and the marks of the copy that says so tell all that it lacks. */
  began: v.exactOptional(v.boolean()),
});
/** A copy, and the last durable point that is known of it. */
export type KnownCopy = v.InferOutput<typeof known>;
/** What a node says of its copy: which, how far, and what it remembers of its peer's. */
export const copyWord = v.object({ ...known.entries, peer: v.nullable(known) });
/** See `copyWord`. */
export type CopyWord = v.InferOutput<typeof copyWord>;

/** A write that waits for its turn. */
interface Write {
  counter: number;
  peer: KnownCopy | null;
  done: (errno: number) => void;
}

/** The record of this node's copy. */
export class CopyRecord implements Completion {
  readonly #pool: Pool;
  readonly #room = allocate(SECTOR);
  readonly #state: number;
  #data: number[] = [];
  #word: CopyWord;
  readonly #writes: Write[] = [];
  /** Files of the write under way that are not on disk yet; the state comes when the data's are. */
  #open = 0;
  #stateTurn = false;
  #errno = 0;
  #closing = false;

  /** Reads what `stateDir` says, or begins a new copy there. Throws. */
  constructor(stateDir: string, pool: Pool) {
    this.#pool = pool;
    const path = join(stateDir, NAME);
    if (!existsSync(path)) makeRecord(stateDir, path);
    this.#word = parseWord(readFileSync(path, "utf8")) ?? { id: randomUUID(), counter: 0, peer: null };
    this.#state = check(open(path, O_RDWR | O_CLOEXEC), `cannot open ${path}`);
  }

  /** What this node may say of its copy. */
  get word(): CopyWord {
    return this.#word;
  }

  /**
   * Looks at the record inside each replicated directory, open as `roots`. Returns why the marks do not belong to these data, or null.
   * Throws when a directory cannot hold a record.
   */
  bind(roots: readonly number[]): string | null {
    this.release();
    this.#closing = false;
    this.#data = roots.map((root) => {
      const directory = openPrivate(root);
      const fd = openat(directory, nameAddress.address, O_RDWR | O_CREAT | O_CLOEXEC, 0o600);
      fsync(directory);
      close(directory);
      return check(fd, "cannot open .holdfast/copy in the replicated directory");
    });
    const found = this.#data.map((fd) => {
      const length = pread(fd, this.#room.address, SECTOR, 0);
      return parseWord(new TextDecoder().decode(this.#room.bytes.subarray(0, Math.max(0, length))));
    });
    if (found.every((word) => word === null) && this.#word.counter === 0) {
      for (const fd of this.#data) this.#put(fd, this.#word);
      for (const fd of this.#data) check(fdatasync(fd), "cannot write .holdfast/copy");
      return null;
    }
    const fault = misfit(this.#word, found);
    this.#word = { ...this.#word, counter: counterOf(this.#word, found) };
    return fault;
  }

  /** Both copies of the record get a new point: the data's first, so that they are never behind their state unless they were restored. */
  write(counter: number, peer: KnownCopy | null, done: (errno: number) => void): void {
    this.#writes.push({ counter, peer, done });
    if (this.#writes.length === 1) this.#begin();
  }

  /** Lets go of the replicated directories. */
  release(): void {
    this.#closing = true;
    if (this.#writes.length === 0) this.#closeData();
  }

  completed(_: number, result: number): void {
    if (result < 0) this.#errno = -result;
    if (--this.#open > 0) return;
    const { counter, peer, done } = this.#writes[0]!;
    if (this.#errno === 0 && !this.#stateTurn) {
      this.#stateTurn = true;
      this.#sync([this.#state], { ...this.#word, counter, peer });
      return;
    }
    if (this.#errno === 0) this.#word = { ...this.#word, counter, peer };
    this.#writes.shift();
    done(this.#errno);
    if (this.#writes.length > 0) this.#begin();
    else if (this.#closing) this.#closeData();
  }

  #begin(): void {
    const { counter, peer } = this.#writes[0]!;
    this.#errno = 0;
    this.#stateTurn = this.#data.length === 0;
    this.#sync(this.#stateTurn ? [this.#state] : this.#data, { ...this.#word, counter, peer });
  }

  /**
   * By fsync, for the data's files: their times changed with this write, so ext4 and xfs put everything into their journal that came
   * before. Attributes of what cannot be synced itself (links, pipes, devices) become durable that way, in each point.
   */
  #sync(files: readonly number[], word: CopyWord): void {
    this.#open = files.length;
    for (const fd of files) {
      const written = this.#put(fd, word);
      if (written < 0) this.completed(0, written);
      else if (!this.#pool.submit(Job.FSYNC, fd, 0, 0, 0, this, 0)) this.completed(0, fsync(fd));
    }
  }

  /** Returns 0 or -errno. */
  #put(fd: number, word: CopyWord): number {
    this.#room.bytes.set(sectorOf(word));
    const count = pwrite(fd, this.#room.address, SECTOR, 0);
    return count === SECTOR ? 0 : Math.min(count, -errnos.ENOSPC);
  }

  #closeData(): void {
    for (const fd of this.#data) close(fd);
    this.#data = [];
  }
}

/** How far two copies are by what both nodes remember: what `relation` compares. A copy that is another than the one remembered is at 0. */
export function countersOf(
  mine: CopyWord,
  theirs: CopyWord,
): {
  mine: { counter: number; peerCounter: number; began: boolean };
  theirs: { counter: number; peerCounter: number };
} {
  const isKnown = (copy: CopyWord, memory: KnownCopy | null): boolean =>
    memory === null || memory.id === copy.id;
  return {
    mine: {
      counter: isKnown(mine, theirs.peer) ? mine.counter : 0,
      peerCounter: mine.peer?.counter ?? 0,
      began: mine.peer?.began === true && mine.peer.id === theirs.id && theirs.peer?.id === mine.id,
    },
    theirs: {
      counter: isKnown(theirs, mine.peer) ? theirs.counter : 0,
      peerCounter: theirs.peer?.counter ?? 0,
    },
  };
}

/**
 * What the copy in these directories says of itself, at rest: nothing is mounted over them. Null when that cannot be read, or not within
 * `patienceMs`: a disk that hangs must hold up neither fencing nor an election. Of data that do not belong to their state, the counter tells that they are behind.
 */
export async function readCopyWord(
  stateDir: string,
  paths: readonly string[],
  patienceMs = READ_PATIENCE_MS,
): Promise<CopyWord | null> {
  return await Promise.race([readWords(stateDir, paths), Bun.sleep(patienceMs).then(() => null)]);
}

async function readWords(stateDir: string, paths: readonly string[]): Promise<CopyWord | null> {
  const read = async (file: string): Promise<CopyWord | null> => {
    try {
      return parseWord(await readFile(file, "utf8"));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
      throw error;
    }
  };
  try {
    const state = await read(join(stateDir, NAME));
    if (state === null || state.counter === 0) return state;
    const found = await Promise.all(paths.map((path) => read(join(path, PRIVATE_NAME, NAME))));
    return { ...state, counter: counterOf(state, found) };
  } catch {
    // A disk that cannot be read says nothing about which copy is newer: who serves from it will say what is wrong.
    return null;
  }
}

/** The durable point of a copy whose state and directories say this. */
function counterOf({ id, counter }: CopyWord, found: readonly (CopyWord | null)[]): number {
  const own = found.map((word) => (word?.id === id ? word.counter : word === null ? counter : 0));
  return found.some((word) => word !== null) ? Math.min(counter, ...own) : 0;
}

/** Why data with these records are not those that the state speaks of, or null. */
function misfit(state: CopyWord, found: readonly (CopyWord | null)[]): string | null {
  for (const word of found) {
    if (word === null)
      return "a replicated directory carries no .holdfast/copy: it is not the one that this node's state speaks of";
    if (word.id !== state.id)
      return "a replicated directory belongs to another copy than this node's state: one of them was replaced";
    if (word.counter < state.counter)
      return `a replicated directory was restored: it is at durable point ${word.counter}, this node's state at ${state.counter}`;
    if (word.counter > state.counter + CRASHES)
      return `this node's state was restored: it is at durable point ${state.counter}, a replicated directory at ${word.counter}`;
  }
  return null;
}

const sectorOf = (word: CopyWord): Uint8Array =>
  new TextEncoder().encode(`${JSON.stringify(word)}\n`.padStart(SECTOR));

function parseWord(text: string): CopyWord | null {
  try {
    const result = v.safeParse(copyWord, JSON.parse(text));
    return result.success ? result.output : null;
  } catch {
    // Empty when it was just made, or not ours: either way it knows no copy.
    return null;
  }
}

/** The first record of a state directory. Throws. */
function makeRecord(stateDir: string, path: string): void {
  const file = openSync(`${path}.new`, "w", 0o600);
  writeSync(file, sectorOf({ id: randomUUID(), counter: 0, peer: null }));
  fsyncSync(file);
  closeSync(file);
  renameSync(`${path}.new`, path);
  const directory = openSync(stateDir, "r");
  fsyncSync(directory);
  closeSync(directory);
}
