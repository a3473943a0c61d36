/**
 * Which part of the product may know which (docs/architecture.md, "The map"): dependencies point one way, a folder is entered by its doors, and
 * pure cores stay pure. An import in the wrong direction is easy to write and hard to see.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import t from "tap";

const ROOT = join(import.meta.dir, "../..");

/** The data path, from the ground up: what each of its folders may know of the others, beside BELOW. */
const DATA_PATH: Readonly<Record<string, readonly string[]>> = {
  objects: ["control.ts"],
  loop: ["objects"],
  mounts: ["objects", "loop", "control.ts"],
  copy: ["objects", "loop", "host.ts"],
  stream: ["objects", "copy"],
  replica: ["objects", "loop"],
  verify: ["objects", "loop", "stream", "replica", "control.ts"],
  fuse: ["objects", "loop", "mounts", "host.ts"],
  primary: ["objects", "loop", "copy", "stream", "verify", "host.ts", "control.ts"],
  second: ["objects", "loop", "mounts", "copy", "stream", "replica", "verify", "host.ts"],
};
/** What all of it may know. */
const BELOW = ["core/replication", "core/platform", "core/failover/types.ts"];

/** What a part may import of the others; a folder stands for all of it, the first that fits counts. Types count: who names a type knows its owner. */
const MAY_KNOW: Readonly<Record<string, readonly string[]>> = {
  ...Object.fromEntries(
    Object.entries(DATA_PATH).map(([folder, others]) => [
      `core/filesystem/${folder}`,
      [...BELOW, ...others.map((name) => `core/filesystem/${name}`)],
    ]),
  ),
  "core/filesystem": BELOW,
  "core/platform": [],
  "core/membership": [],
  "core/probe": [],
  "core/failover": ["core/checks/condition.ts", "core/farm/word.ts"],
  "core/replication": ["core/failover/types.ts"],
  "core/network": ["core/platform"],
  "core/services": ["core/platform"],
  "core/farm": ["core/network/address.ts"],
  hooks: ["core/platform", "core/services", "modules"],
};
/** Who may import these, beside themselves. */
const KNOWN_TO: Readonly<Record<string, readonly string[]>> = {
  "core/cli": [],
  "core/daemon": ["core/cli"],
};
/** What all may take of the daemon: the types of what the API asks of it. */
const ASKED = "core/daemon/engine.ts";
/** The doors of a folder: others import nothing else of it. */
const DOORS: Readonly<Record<string, readonly string[]>> = {
  "core/checks": [
    "condition.ts",
    "condition_text.ts",
    "module_checks.ts",
    "probes/disk_child.ts",
    "probes/probes.ts",
    "runner.ts",
  ],
  "core/checks/probes": ["disk_child.ts", "probes.ts"],
  "core/filesystem": ["process.ts", "control.ts", "copy/copy_record.ts", "mounts/dead_mounts.ts"],
  "core/filesystem/copy": [
    "changed_behind.ts",
    "copy_record.ts",
    "marks_store.ts",
    "saved_copy.ts",
    "stop_point.ts",
  ],
  "core/filesystem/fuse": ["service.ts"],
  "core/filesystem/fuse/operations": ["operations.ts"],
  "core/filesystem/loop": ["point_syncs.ts", "poll_loop.ts", "pool.ts", "prompt_syncs.ts", "sync_queue.ts"],
  "core/filesystem/mounts": [
    "dead_mounts.ts",
    "guards.ts",
    "high_inodes.ts",
    "mount.ts",
    "read_only_view.ts",
  ],
  "core/filesystem/primary": ["primary.ts"],
  "core/filesystem/primary/reintegration": ["dirty_search.ts", "source_copy.ts"],
  "core/filesystem/replica": [
    "applier.ts",
    "replica_identity.ts",
    "replica_objects.ts",
    "second_marks.ts",
    "second_syncs.ts",
    "touched_objects.ts",
  ],
  "core/filesystem/second": ["second.ts"],
  "core/filesystem/second/reintegration": ["target_copy.ts"],
  "core/filesystem/stream": ["hello.ts", "link.ts", "ordered_stream.ts", "stream_buffers.ts"],
  "core/filesystem/verify": ["verify.ts", "verify_answer.ts"],
  "core/replication": [
    "generations.ts",
    "identity_set.ts",
    "mark.ts",
    "marked_objects.ts",
    "marks.ts",
    "marks_export.ts",
    "marks_recovery.ts",
    "name_table.ts",
    "name_text.ts",
    "names.ts",
    "object_marks.ts",
    "operation.ts",
    "packed.ts",
    "reintegration.ts",
    "replicator.ts",
  ],
  "core/witness": [
    "config.ts",
    "enrolment.ts",
    "node_witness.ts",
    "open.ts",
    "promise.ts",
    "protocol.ts",
    "service.ts",
    "witness.ts",
  ],
  // What loads little by itself stands beside mod.ts, which loads the type checker: a daemon and a hook's runner have no use for that.
  modules: [
    "cross_checks.ts",
    "fields.ts",
    "history/history.ts",
    "history/line_diff.ts",
    "hook_files.ts",
    "import_map.ts",
    "load.ts",
    "mod.ts",
    "module_tests.ts",
    "nearest.ts",
    "safekit/safekit.ts",
    "schema.ts",
    "units.ts",
    "yaml_document.ts",
  ],
};
/** No clock, no chance, no file, no network: what they are told is all that they know. */
const PURE = ["core/failover", "core/membership", "core/replication", "core/explain"];
/** Packing bytes is arithmetic. */
const REACHES_OUT = /^(node|bun)\b(?!:zlib$)/;
const OUTSIDE =
  /\b(Bun|process|globalThis)\.|\b(performance|Date)\.now\(|\bMath\.random\(|\b(fetch|setTimeout|setInterval)\(|\bnew Date\(\)/;

interface Import {
  /** Path below the root; the bare name of a package. */
  to: string;
  isType: boolean;
}

const code = new Map<string, string>();
for (const folder of ["core", "hooks", "modules"])
  for (const name of readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" }))
    if (name.endsWith(".ts")) code.set(join(folder, name), readFileSync(join(ROOT, folder, name), "utf8"));

function importsOf(file: string): Import[] {
  const statements =
    /\b(?:import|export)\s+(type\s)?(?:[\w\s{},*$]*\bfrom\s*)?"([^"]+)"|\bimport\(\s*"([^"]+)"/g;
  return [...code.get(file)!.matchAll(statements)].map(([, isType, named, loaded]) => {
    const name = (named ?? loaded)!;
    const to = name.startsWith(".") ? relative(ROOT, join(ROOT, dirname(file), name)) : name;
    return { to, isType: isType !== undefined };
  });
}

const isIn = (path: string, part: string): boolean => path === part || path.startsWith(`${part}/`);

/** Ours, not a package. */
const isOurs = (path: string): boolean => /^(core|hooks|modules|templates|test)\//.test(path);

function mayImport(file: string, { to, isType }: Import): boolean {
  const own = Object.keys(MAY_KNOW).find((part) => isIn(file, part));
  if (own !== undefined && ![own, ...MAY_KNOW[own]!].some((part) => isIn(to, part))) return false;
  if (to === ASKED && isType) return true;
  const guarded = Object.keys(KNOWN_TO).find((part) => isIn(to, part));
  if (guarded !== undefined) return [guarded, ...KNOWN_TO[guarded]!].some((part) => isIn(file, part));
  return !isIn(to, "test");
}

/** Does it come in by a door, of each folder that it enters? */
const isByDoor = (file: string, to: string): boolean =>
  Object.entries(DOORS).every(
    ([folder, doors]) =>
      isIn(file, folder) || !isIn(to, folder) || doors.includes(to.slice(folder.length + 1)),
  );

const importsThat = (isWrong: (file: string, found: Import) => boolean): string[] =>
  [...code.keys()].flatMap((file) =>
    importsOf(file)
      .filter((found) => isOurs(found.to) && isWrong(file, found))
      .map(({ to }) => `${file} imports ${to}`),
  );

/** Imports in the wrong direction. */
const crossings = (): string[] => importsThat((file, found) => !mayImport(file, found));

/** Imports past a door. */
const intrusions = (): string[] => importsThat((file, { to }) => !isByDoor(file, to));

/** Doors that nobody uses. */
function deadDoors(): string[] {
  const used = new Set(
    [...code.keys()].flatMap((file) =>
      importsOf(file).flatMap(({ to }) =>
        Object.keys(DOORS)
          .filter((folder) => isIn(to, folder) && !isIn(file, folder))
          .map((folder) => `${folder}/${to.slice(folder.length + 1)}`),
      ),
    ),
  );
  return Object.entries(DOORS)
    .flatMap(([folder, doors]) => doors.map((door) => `${folder}/${door}`))
    .filter((door) => !used.has(door));
}

/** What pure cores, with all that they import, have of the world outside; and how many files they are. */
function impurities(): { found: string[]; files: number } {
  const reached = new Set([...code.keys()].filter((file) => PURE.some((part) => isIn(file, part))));
  const found: string[] = [];
  for (const file of reached) {
    for (const { to, isType } of importsOf(file)) {
      if (isType) continue;
      if (code.has(to)) reached.add(to);
      if (REACHES_OUT.test(to)) found.push(`${file} imports ${to}`);
    }
    const [used] = OUTSIDE.exec(code.get(file)!.replace(/\/\/.*|^\s*\/?\*.*/gm, "")) ?? [];
    if (used !== undefined) found.push(`${file} uses ${used}`);
  }
  return { found, files: reached.size };
}

t.test("dependencies point one way", async (t) => t.same(crossings(), []));

t.test("a folder is entered by its doors, and has none that nobody uses", async (t) => {
  t.same(intrusions(), []);
  t.same(deadDoors(), []);
});

t.test("pure cores look at nothing outside", async (t) => {
  const { found, files } = impurities();
  t.same(found, []);
  t.ok(files > 40, `${files} files were read`);
});

t.test("imports in the wrong direction are found", async (t) => {
  const files = {
    "hooks/x.ts": 'import type { A } from "../core/daemon/engine.ts";',
    "core/checks/x.ts": 'export {\n  b,\n  type C,\n} from "../daemon/journal.ts";\nimport "valibot";',
    "core/api/x.ts":
      'import type { A } from "../daemon/engine.ts";\nimport { b } from "../daemon/engine.ts";',
    "core/network/x.ts": 'await import("../../test/x.ts");',
    "core/filesystem/loop/x.ts": 'import { Link } from "../stream/link.ts";',
    "core/filesystem/x.ts": 'import type { Follower } from "./primary/follower.ts";',
    "core/failover/x.ts": 'import { y } from "../checks/condition.ts";\nconst at = performance.now();',
    "core/membership/x.ts": 'import { readFileSync } from "node:fs";\n// Date.now() is nothing to us',
  };
  for (const [file, text] of Object.entries(files)) code.set(file, text);
  t.same(crossings(), [
    "hooks/x.ts imports core/daemon/engine.ts",
    "core/checks/x.ts imports core/daemon/journal.ts",
    "core/api/x.ts imports core/daemon/engine.ts",
    "core/network/x.ts imports test/x.ts",
    "core/filesystem/loop/x.ts imports core/filesystem/stream/link.ts",
  ]);
  t.same(intrusions(), ["core/filesystem/x.ts imports core/filesystem/primary/follower.ts"]);
  t.same(impurities().found, [
    "core/failover/x.ts uses performance.now(",
    "core/membership/x.ts imports node:fs",
  ]);
  for (const file of Object.keys(files)) code.delete(file);
});
