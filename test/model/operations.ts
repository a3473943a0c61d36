/** The operations of the model test, and where they come from: a seed. What one does may fail; the model says how. */
import { randomFrom } from "../campaign/random.ts";
import type { Acl, Kind } from "./tree.ts";

/** Components below the worker's top; the first is `own` or `all`, a directory that all workers share. */
export type Path = readonly string[];

/** How bytes get into a file: `mapped` through a shared mapping, within the size that it has. */
export type WriteKind = "buffered" | "append" | "direct" | "sync" | "dsync" | "mapped" | "mapped+msync";

export type Operation =
  | { do: "create"; path: Path; mode: number; exclusive: boolean }
  | { do: "write"; path: Path; offset: number; length: number; how: WriteKind }
  | { do: "truncate"; path: Path; size: number }
  | { do: "allocate"; path: Path; mode: number; offset: number; length: number }
  | { do: "copy"; path: Path; to: Path; from: number; offset: number; length: number }
  | { do: "unlink" | "rmdir" | "read" | "list" | "fsync" | "fdatasync"; path: Path }
  | { do: "mkdir"; path: Path; mode: number }
  | { do: "rename"; path: Path; to: Path; flags: number }
  | { do: "link"; path: Path; to: Path }
  | { do: "symlink"; path: Path; target: string }
  | { do: "node"; path: Path; kind: Kind; mode: number; device: number }
  | { do: "chmod"; path: Path; mode: number }
  | { do: "chown"; path: Path; uid: number; gid: number }
  | { do: "utimes"; path: Path; mtime: bigint }
  | { do: "setxattr"; path: Path; name: string; value: string; flags: number }
  | { do: "removexattr"; path: Path; name: string }
  | { do: "setacl"; path: Path; acl: Acl }
  | { do: "unnamed"; path: Path; length: number; mode: number; syncs: boolean }
  | { do: "hold"; path: Path; slot: number }
  | { do: "writeHeld"; slot: number; offset: number; length: number }
  | { do: "syncHeld" | "readHeld"; slot: number };

/** Files are at most this long, bytes. */
const LONGEST = 160 << 10;
/** Descriptors that a worker keeps open. */
export const SLOTS = 3;

const DIRECTORIES = ["da", "db", "dc"];
const FILES = ["fa", "fb", "fc", "fd", "not \xff\xfe UTF-8\n", "long".padEnd(250, "g")];
const MODES = [0o644, 0o600, 0o755, 0o4755, 0o2711, 0o444];

/** The byte that operation number `index` writes: never 0, so that a hole can be told from it. */
export const fillOf = (index: number): number => 1 + ((index * 37) % 255);

/** Operations one after another, the same for the same seed, run and worker, whatever the tree looks like. */
export function* operationsFrom(seed: number, run: number, worker: number): Generator<Operation> {
  const random = randomFrom(Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(run + 1, 0x85ebca6b) ^ (worker + 1));
  const below = (limit: number): number => Math.floor(random() * limit);
  const one = <T>(list: readonly T[]): T => list[below(list.length)]!;
  const flip = (chance: number): boolean => random() < chance;
  const path = (files = 0.85): Path => {
    const shared = flip(0.25);
    const names = Array.from({ length: one([0, 0, 1, 1, 1, 2]) }, () => one(DIRECTORIES));
    names.push(flip(files) ? one(FILES) : one(DIRECTORIES));
    if (shared) names[0] = `${worker}-${names[0]}`;
    return [shared ? "all" : "own", ...names];
  };
  const offset = (): number => (flip(0.5) ? below(LONGEST / 4096) * 4096 : below(LONGEST));
  const length = (most = 24 << 10): number => 1 + below(flip(0.3) ? most : 5000);
  const slot = (): number => below(SLOTS);
  const makers: readonly [weight: number, make: () => Operation][] = [
    [8, () => ({ do: "create", path: path(), mode: one(MODES), exclusive: flip(0.5) })],
    [22, () => ({ do: "write", path: path(), offset: offset(), length: length(), how: one(WRITES) })],
    [4, () => ({ do: "truncate", path: path(), size: flip(0.3) ? 0 : offset() })],
    [
      5,
      () => ({
        do: "allocate",
        path: path(),
        mode: one([0, 1, 3, 3, 16, 17]),
        offset: offset(),
        length: length(),
      }),
    ],
    [3, () => ({ do: "copy", path: path(), to: path(), from: offset(), offset: offset(), length: length() })],
    [6, () => ({ do: "unlink", path: path() })],
    [3, () => ({ do: "rmdir", path: path(0.1) })],
    [6, () => ({ do: "mkdir", path: path(0.1), mode: one([0o755, 0o700, 0o711]) })],
    [
      9,
      () => {
        const files = one([0.95, 0.95, 0.1]);
        return { do: "rename", path: path(files), to: path(files), flags: one([0, 0, 0, 1, 2]) };
      },
    ],
    [5, () => ({ do: "link", path: path(), to: path() })],
    [3, () => ({ do: "symlink", path: path(), target: `nowhere/${"t".repeat(one([1, 50, 900]))}\xff` })],
    [
      2,
      () => ({
        do: "node",
        path: path(),
        kind: one(["fifo", "socket", "character"] as const),
        mode: one(MODES),
        device: 240 * 256 + below(9),
      }),
    ],
    [4, () => ({ do: "chmod", path: path(0.7), mode: one(MODES) })],
    [3, () => ({ do: "chown", path: path(0.7), uid: below(3) * 1000, gid: below(3) * 1000 })],
    [
      3,
      () => ({
        do: "utimes",
        path: path(0.7),
        mtime: BigInt(below(2 ** 31) - 2 ** 29) * 1_000_000_000n + BigInt(below(1e9)),
      }),
    ],
    [
      4,
      () => ({
        do: "setxattr",
        path: path(0.7),
        name: one(ATTRIBUTES),
        value: "v\xff\x01".repeat(1 + below(60)),
        flags: one([0, 0, 1, 2]),
      }),
    ],
    [2, () => ({ do: "removexattr", path: path(0.7), name: one(ATTRIBUTES) })],
    [
      2,
      () => ({
        do: "setacl",
        path: path(0.7),
        acl: { owner: 6, named: below(8), group: below(8), mask: below(8), other: below(8) },
      }),
    ],
    [3, () => ({ do: "unnamed", path: path(), length: length(), mode: one(MODES), syncs: flip(0.5) })],
    [3, () => ({ do: "hold", path: path(), slot: slot() })],
    [6, () => ({ do: "writeHeld", slot: slot(), offset: offset(), length: length() })],
    [2, () => ({ do: "syncHeld", slot: slot() })],
    [2, () => ({ do: "readHeld", slot: slot() })],
    [6, () => ({ do: "fsync", path: path(0.8) })],
    [3, () => ({ do: "fdatasync", path: path(0.9) })],
    [4, () => ({ do: "read", path: path() })],
    [2, () => ({ do: "list", path: path(0.05) })],
  ];
  const total = makers.reduce((sum, [weight]) => sum + weight, 0);
  for (;;) {
    let roll = random() * total;
    for (const [weight, make] of makers) {
      roll -= weight;
      if (roll >= 0) continue;
      yield make();
      break;
    }
  }
}

const WRITES: readonly WriteKind[] = [
  "buffered",
  "buffered",
  "buffered",
  "buffered",
  "append",
  "append",
  "direct",
  "sync",
  "dsync",
  "mapped",
  "mapped+msync",
];
const ATTRIBUTES = ["user.a", "user.b", "trusted.c"];
