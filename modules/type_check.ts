/**
 * Type-checks a module's hooks, checkers and tests with the TypeScript in the binary: what an editor shows as red lines, for
 * those who have none. Nothing but the module's own files is read: libraries and types are the binary's.
 */
import { existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import type ts from "typescript";
import { sourceFiles } from "./hook_files.ts";
import { readImportMap } from "./import_map.ts";
import { areKnownGood, noteGood, typesDigest } from "./known_types.ts";
import { withResources } from "./resource_types.ts";
import { sdkSources, typeFiles, typeScript } from "./type_files/type_files.ts";
import { inOrder, type Problem } from "./yaml_document.ts";

type Compiler = typeof ts;

/** Where the packed files are for the compiler; there is no such directory. */
const PACKED = "/holdfast-types";
/** A name or module that this file knows nothing of. */
const UNKNOWN = new Set([2304, 2307, 2867, 2868, 2882]);

/** Packed files as the compiler has read them: the same for each module. */
const parsed = new Map<string, ts.SourceFile>();

/** Of each module another, with the names of its resources. */
const SDK = `${PACKED}/sdk/mod.ts`;

/** The packed files, by the path that the compiler asks for, and what is made for the module. */
async function packedFiles(directory: string): Promise<Map<string, string>> {
  const [files, sdk] = await Promise.all([typeFiles(), sdkSources()]);
  const under = (folder: string, texts: Readonly<Record<string, string>>) =>
    Object.entries(texts).map(([path, text]) => [join(PACKED, folder, path), text] as const);
  return new Map([...under("", files), ...under("sdk", withResources(sdk, directory))]);
}

/** As the module's tsconfig.json when it was made: one that the author has changed is the editor's business. */
function optionsOf(compiler: Compiler): ts.CompilerOptions {
  return {
    target: compiler.ScriptTarget.ESNext,
    module: compiler.ModuleKind.ESNext,
    moduleResolution: compiler.ModuleResolutionKind.Bundler,
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    allowImportingTsExtensions: true,
    typeRoots: [PACKED],
    types: ["node", "deno", "holdfast"],
  };
}

function hostOf(compiler: Compiler, directory: string, packed: ReadonlyMap<string, string>): ts.CompilerHost {
  const folders = new Set<string>();
  for (const path of packed.keys())
    for (let at = path.lastIndexOf("/"); at > 0; at = path.lastIndexOf("/", at - 1))
      folders.add(path.slice(0, at));
  const { map } = readImportMap(directory);
  const isFile = (path: string) => existsSync(path) && statSync(path).isFile();
  const readFile = (path: string) =>
    path.startsWith(PACKED) ? packed.get(path) : isFile(path) ? readFileSync(path, "utf8") : undefined;
  const targetOf = (name: string) =>
    name === "holdfast"
      ? SDK
      : name === "holdfast/testing"
        ? `${PACKED}/sdk/testing.ts`
        : (map.resolve(name) ?? name);
  const host: ts.CompilerHost = {
    readFile,
    fileExists: (path) => (path.startsWith(PACKED) ? packed.has(path) : isFile(path)),
    directoryExists: (path) => (path.startsWith(PACKED) ? folders.has(path) : existsSync(path)),
    getSourceFile(path, options) {
      const known = parsed.get(path);
      if (known) return known;
      const text = readFile(path);
      if (text === undefined) return undefined;
      const source = compiler.createSourceFile(path, text, options);
      if (path.startsWith(PACKED) && path !== SDK) parsed.set(path, source);
      return source;
    },
    getDefaultLibFileName: () => `${PACKED}/lib/lib.esnext.full.d.ts`,
    getDefaultLibLocation: () => `${PACKED}/lib`,
    getCurrentDirectory: () => directory,
    getCanonicalFileName: (path) => path,
    jsDocParsingMode: compiler.JSDocParsingMode.ParseNone,
    useCaseSensitiveFileNames: () => true,
    getNewLine: () => "\n",
    writeFile: () => undefined,
    resolveModuleNameLiterals: (names, from, _, options) =>
      names.map(({ text }) => compiler.resolveModuleName(targetOf(text), from, options, host)),
  };
  return host;
}

/** Bun's own names are warned of in words of their own. */
function isAboutBun(code: number, message: string): boolean {
  return UNKNOWN.has(code) && /'(Bun|bun(:\w+)?)'/.test(message);
}

/** What is wrong with the types in the module's own files, in the order of their places. */
export async function typeProblems(place: string): Promise<Problem[]> {
  const directory = realpathSync(place);
  const files = sourceFiles(directory).filter((file) => /\.m?ts$/.test(file));
  if (files.length === 0) return [];
  const digest = await typesDigest(directory);
  if (areKnownGood(directory, digest)) return [];
  const [compiler, packed] = await Promise.all([typeScript(), packedFiles(directory)]);
  const program = compiler.createProgram(files, optionsOf(compiler), hostOf(compiler, directory, packed));
  const problems = files.flatMap((file) => {
    const source = program.getSourceFile(file);
    if (!source) return [];
    const found = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
    return found.flatMap(({ start = 0, messageText, code }) => {
      const { line, character } = source.getLineAndCharacterOfPosition(start);
      const message = compiler.flattenDiagnosticMessageText(messageText, " ").replaceAll(/\s+/g, " ");
      if (isAboutBun(code, message)) return [];
      const shown = relative(directory, file);
      return [
        { file: shown, line: line + 1, column: character + 1, path: "", message: `${message} (TS${code})` },
      ];
    });
  });
  if (problems.length === 0) noteGood(directory, digest);
  return inOrder(problems);
}
