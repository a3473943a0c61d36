/**
 * A script's source as it is run: names of the import map stand for files, and the main script knows that it is one.
 *
 * Bun asks no plugin about a bare name in a static import, and says `import.meta.main` only of the file that a process began
 * with. So the text is changed, within its lines, and what was put where is kept: places in error messages are those of the
 * author's text.
 */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type { ImportMap } from "../modules/import_map.ts";

const BE_MAIN = 'Object.defineProperty(import.meta, "main", { value: true });';

/** Text put in: at this offset of the author's text, longer by so much than what was there. */
interface Edit {
  offset: number;
  removed: number;
  text: string;
}

interface Place {
  line: number;
  column: number;
  longer: number;
}

const placesOf = new Map<string, Place[]>();

/** Where the specifier stands in an import or export: each occurrence is tried, for it may as well be a part of a text. */
function occurrences(source: string, specifier: string): number[] {
  const transpiler = new Bun.Transpiler({ loader: "ts" });
  const found: number[] = [];
  for (const mark of ['"', "'"]) {
    const quoted = `${mark}${specifier}${mark}`;
    for (let at = source.indexOf(quoted); at >= 0; at = source.indexOf(quoted, at + quoted.length)) {
      const probe = `holdfast-probe-${at}`;
      const changed = `${source.slice(0, at)}"${probe}"${source.slice(at + quoted.length)}`;
      try {
        if (transpiler.scanImports(changed).some(({ path }) => path === probe)) found.push(at);
      } catch {
        // Not even a program any more: it was no import.
      }
    }
  }
  return found;
}

/** Names of files that are imported as texts: the plugin's word for "as it is", whatever the name says. */
export const AS_TEXT = "holdfast-text";

/** `import x from "./a.ts" with { type: "text" }`: Bun would take the file's name for what it is. */
function textEdits(file: string, source: string, map: ImportMap): Edit[] {
  const attribute = /(["'])([^"'\n]+)\1\s*with\s*\{\s*type\s*:\s*(["'])text\3/g;
  return [...source.matchAll(attribute)].flatMap(({ index, 2: specifier = "" }) => {
    if (!occurrences(source, specifier).includes(index)) return [];
    const target = map.resolve(specifier) ?? resolve(dirname(file), specifier);
    return [{ offset: index, removed: specifier.length + 2, text: JSON.stringify(`${AS_TEXT}:${target}`) }];
  });
}

function importEdits(file: string, source: string, map: ImportMap): Edit[] {
  const edits = textEdits(file, source, map);
  const scanned = new Bun.Transpiler({ loader: "ts" }).scanImports(source);
  for (const specifier of new Set(scanned.map(({ path }) => path))) {
    const target = map.resolve(specifier);
    if (!target?.startsWith("/")) continue;
    for (const offset of occurrences(source, specifier))
      if (!edits.some((edit) => edit.offset === offset))
        edits.push({ offset, removed: specifier.length + 2, text: JSON.stringify(target) });
  }
  return edits;
}

/** Makes the edits, and remembers their places. */
function edited(file: string, source: string, edits: readonly Edit[]): string {
  let result = source;
  const places: Place[] = [];
  for (const { offset, removed, text } of [...edits].sort((a, b) => b.offset - a.offset)) {
    result = result.slice(0, offset) + text + result.slice(offset + removed);
    const before = source.slice(0, offset).split("\n");
    places.unshift({ line: before.length, column: before.at(-1)!.length + 1, longer: text.length - removed });
  }
  placesOf.set(file, places);
  return result;
}

/** Reads a file and makes of it what is run. `main` is the main script's path. */
export function prepareSource(file: string, main: string, map: ImportMap): string {
  const source = readFileSync(file, "utf8");
  const edits: Edit[] = [];
  if (file === main && source.includes("import.meta.main"))
    edits.push({ offset: source.startsWith("#!") ? source.indexOf("\n") + 1 : 0, removed: 0, text: BE_MAIN });
  try {
    edits.push(...importEdits(file, source, map));
  } catch {
    // A syntax error: the import itself tells it, with its place.
  }
  return edits.length === 0 ? source : edited(file, source, edits);
}

/** The column (from 1) in the author's text, for a place in what was run. */
export function originalColumn(file: string, line: number, column: number): number {
  let result = column;
  for (const place of placesOf.get(file) ?? [])
    if (place.line === line && result > place.column) result = Math.max(place.column, result - place.longer);
  return result;
}

/** A stack, or any text with "file:line:column" in it, with the author's columns. */
export function withOriginalColumns(text: string): string {
  return text.replace(
    /(\/[^\s():]+):(\d+):(\d+)/g,
    (_, file: string, line: string, column: string) =>
      `${file}:${line}:${originalColumn(file, Number(line), Number(column))}`,
  );
}
