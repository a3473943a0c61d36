/**
 * Packs what a module's check and its editor know types from, at build time: TypeScript with its libraries, the types of
 * node:, and of the Deno namespace as far as Holdfast offers it. None of it is loaded before it is asked for.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { Glob } from "bun";
import ts from "typescript";
import { notOffered } from "../../hooks/deno/not_offered.ts";
import { sdkFiles } from "./sdk_source.ts";

const LEVEL = { level: 15 };
/** What they are made from: packages, and these files. */
const MADE_FROM = ["package-lock.json", "hooks/deno/not_offered.ts", "modules/type_files/make.ts"];

/** What the runtime of scripts gives besides: the one package, and files that are imported as texts. */
const OTHERS = `declare module "@std/yaml" {
  export function parse(text: string): unknown;
  export function stringify(value: unknown): string;
}
${["txt", "sql", "md", "conf", "html", "yaml"].map((end) => `declare module "*.${end}" {\n  const text: string;\n  export default text;\n}\n`).join("")}`;

/** Texts of a folder's declarations, by path below it. */
function declarations(folder: string, pattern: string): Record<string, string> {
  const paths = [...new Glob(pattern).scanSync({ cwd: folder })].sort((a, b) => (a < b ? -1 : 1));
  return Object.fromEntries(paths.map((path) => [path, readFileSync(`${folder}/${path}`, "utf8")]));
}

function nameOf(statement: ts.Statement): string {
  if (ts.isVariableStatement(statement)) {
    const first = statement.declarationList.declarations[0]?.name;
    return first && ts.isIdentifier(first) ? first.text : "";
  }
  const name: unknown = "name" in statement ? statement.name : undefined;
  return typeof name === "object" && name !== null && "text" in name ? String(name.text) : "";
}

/** The namespace Deno of `deno types`, without what scripts here do not have. */
function denoNamespace(): string {
  const { stdout, status, error } = spawnSync("node_modules/.bin/deno", ["types"], {
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  if (status !== 0)
    throw new Error("`deno types` failed: is the npm package deno installed?", { cause: error });
  const source = ts.createSourceFile("deno.d.ts", stdout, ts.ScriptTarget.Latest);
  const left = new Set(notOffered);
  const blocks = source.statements.filter(ts.isModuleDeclaration).filter(({ name }) => name.text === "Deno");
  const kept = blocks.flatMap(({ body }) =>
    body && ts.isModuleBlock(body)
      ? body.statements.filter((one) => !left.has(nameOf(one))).map((one) => one.getFullText(source))
      : [],
  );
  return `// The Deno namespace as far as Holdfast offers it. Copyright the Deno authors, MIT licence.\ndeclare namespace Deno {${kept.join("")}\n}\n`;
}

/** True when the file is there and newer than all that it is made from. */
function isFresh(file: string): boolean {
  return existsSync(file) && MADE_FROM.every((source) => statSync(source).mtimeMs < statSync(file).mtimeMs);
}

/** Whole or not at all: an interrupted build must not leave half a file that looks fresh. */
function writePacked(file: string, content: string | Uint8Array): void {
  writeFileSync(`${file}.new`, Bun.zstdCompressSync(content, LEVEL));
  renameSync(`${file}.new`, file);
}

/** Writes `sdk.json.zst` into `folder`, and, unless they are fresh, `types.json.zst` (path to text: lib/, node/, deno/) and `typescript.js.zst`. */
export function makeTypeFiles(folder: string): void {
  mkdirSync(folder, { recursive: true });
  writePacked(`${folder}/sdk.json.zst`, JSON.stringify(sdkFiles()));
  const places = { types: `${folder}/types.json.zst`, compiler: `${folder}/typescript.js.zst` };
  if (Object.values(places).every(isFresh)) return;
  const under = (place: string, files: Record<string, string>) =>
    Object.entries(files).map(([path, text]) => [`${place}/${path}`, text] as const);
  const node = declarations("node_modules/@types/node", "**/*.d.ts");
  for (const path of Object.keys(node)) if (/^(ts5|node_modules)/.test(path)) delete node[path];
  const types = Object.fromEntries([
    ...under("lib", declarations("node_modules/typescript/lib", "lib*.d.ts")),
    ...under("node", node),
    ["deno/index.d.ts", denoNamespace()] as const,
    ["holdfast/index.d.ts", OTHERS] as const,
  ]);
  writePacked(places.types, JSON.stringify(types));
  writePacked(places.compiler, readFileSync("node_modules/typescript/lib/typescript.js"));
}
