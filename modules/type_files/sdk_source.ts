/**
 * The SDK as one source file without dependencies, for a module's `.holdfast/`: the same code that the binary gives to hooks,
 * its files one after the other. Made at build time.
 */
import { readFileSync } from "node:fs";

/** What tests import from "holdfast/testing"; types come from the other file. */
const TESTING = ["hooks/sdk/stand_in.ts", "hooks/sdk/testing.ts"];
const TESTING_TYPES = "CheckerContext, CheckerResult, CommandResult, HookContext";
/** What hooks import from "holdfast", in the order of their needs. */
const FILES = [
  "modules/units.ts",
  "hooks/process_tree.ts",
  "hooks/adopted.ts",
  "hooks/sdk/context.ts",
  "hooks/sdk/define.ts",
  "hooks/sdk/resources.ts",
  "hooks/sdk/rules.ts",
  "hooks/sdk/stand_in.ts",
  "hooks/sdk/adopt.ts",
  "hooks/sdk/log.ts",
  "hooks/sdk/secret.ts",
  "hooks/sdk/shell.ts",
  "hooks/sdk/wait.ts",
  "hooks/sdk/service.ts",
];
const IMPORT = /^import (?:type )?[^;]*? from "([^"]+)";\n/gm;

function read(name: string): string {
  return readFileSync(`${import.meta.dir}/../../${name}`, "utf8");
}

/** Names that mod.ts gives. */
function given(): Set<string> {
  const lists = [...read("hooks/sdk/mod.ts").matchAll(/^export (?:type )?\{([^}]*)\}/gm)].map(
    ([, list = ""]) => list,
  );
  return new Set(lists.flatMap((list) => list.split(",").map((name) => name.trim().replace(/^type /, ""))));
}

/** Local imports go, for all is in one file; those of the runtime come first, each once. */
function joined(files: readonly string[]): { imports: string[]; body: string } {
  const imports = new Map<string, Set<string>>();
  const bodies = files.map((name) =>
    read(name).replace(IMPORT, (line, from: string) => {
      if (!from.startsWith("node:")) return "";
      const names = /\{([^}]*)\}/.exec(line)?.[1];
      const kind = line.startsWith("import type") ? "type " : "";
      const known = imports.get(from) ?? new Set();
      for (const one of names === undefined ? [/import (\w+)/.exec(line)![1]!] : names.split(","))
        known.add(names === undefined ? `default as ${one}` : `${kind}${one.trim()}`);
      imports.set(from, known);
      return "";
    }),
  );
  const lines = [...imports]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([from, names]) => `import { ${[...names].join(", ")} } from "${from}";`);
  return { imports: lines, body: bodies.join("\n") };
}

const HEAD =
  "// Written by holdfast for editors, tests and Deno; changes here are lost. Hooks get the same from the binary.\n";

/** One source file; what is not in `names` is its own. */
function oneFile(files: readonly string[], names: ReadonlySet<string>, also: readonly string[] = []): string {
  const { imports, body } = joined(files);
  const exported = body.replace(
    /^export ((?:async )?(?:function|class|const|interface|type)) ([\w$]+)/gm,
    (whole, kind: string, name: string) => (names.has(name) ? whole : `${kind} ${name}`),
  );
  return `${HEAD}${[...imports, ...also].join("\n")}\n\n${exported}`;
}

/** Name in `.holdfast/` to text. */
export function sdkFiles(): Record<string, string> {
  const own = [...read(TESTING[1]!).matchAll(/^export (?:async )?\w+ (\w+)/gm)].map(([, name = ""]) => name);
  const types = [`import type { ${TESTING_TYPES} } from "./mod.ts";`];
  return { "mod.ts": oneFile(FILES, given()), "testing.ts": oneFile(TESTING, new Set(own), types) };
}
