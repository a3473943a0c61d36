/**
 * Makes a template's files of the parts that its row names: plain files, in which nothing tells any more where they came from.
 *
 * The same row and parts give the same bytes: `module upgrade` merges them as a newer commit of the template's branch.
 */
import type { Row } from "./catalog.ts";

/** A part's folder below templates/ (`postgresql`, `shared/mirror`), and its files: path to content. */
export type Parts = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** `{{word}}`; what a tool means by braces of its own (`{{.State}}`) is none. */
const WORD = /\{\{([a-z]\w*)\}\}/g;
const PAGE = "README.md";

/** Path to content, sorted by path. Throws RangeError when the row names a part or a word that is not there, or a word that nothing uses. */
export function compose(row: Row, parts: Parts): Record<string, string> {
  const folders = row.parts.map((name) => {
    const files = parts[name];
    if (!files) throw new RangeError(`template ${row.name}: there is no templates/${name}`);
    return files;
  });
  const texts: Record<string, string> = {};
  for (const files of folders)
    for (const [path, text] of Object.entries(files)) if (path !== PAGE) texts[path] ??= text;
  const pages = folders.flatMap((files) => files[PAGE] ?? []);
  texts[PAGE] = [...pages, `## How far it was tested\n\n${testedOf(row)}\n`].join("\n");
  return Object.fromEntries(
    Object.entries(filled(row, texts)).sort(([one], [other]) => (one < other ? -1 : 1)),
  );
}

/** What a reader is told of how far to trust it. */
export function testedOf({ real, standIn }: Pick<Row, "real" | "standIn">): string {
  const sentences = [real ? `Run for real: ${real}.` : "", standIn ? `Not run for real: ${standIn}.` : ""];
  return sentences.filter(Boolean).join("\n");
}

function filled(row: Row, texts: Readonly<Record<string, string>>): Record<string, string> {
  const unused = new Set(Object.keys(row.words ?? {}));
  const word = (_: string, name: string) => {
    const value = row.words?.[name];
    if (value === undefined) throw new RangeError(`template ${row.name}: its row has no word ${name}`);
    unused.delete(name);
    return value;
  };
  const result = Object.fromEntries(
    Object.entries(texts).map(([path, text]) => [path, text.replaceAll(WORD, word)]),
  );
  if (unused.size > 0)
    throw new RangeError(`template ${row.name}: nothing uses its words ${[...unused].join(", ")}`);
  return result;
}
