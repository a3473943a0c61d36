/**
 * A page of the documentation, read as what it tells people to type: a test types it, so that it stays true.
 */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const repository = resolve(import.meta.dir, "../..");

/** Lines to type, and the machines to type them on, as the block's first line says: `# n1, n2 and n3`. */
export interface Commands {
  machines: string[];
  text: string;
}

/** See the top of the file. */
export class Page {
  readonly #text: string;

  /** `path` below the repository. */
  constructor(path: string) {
    this.#text = readFileSync(join(repository, path), "utf8");
  }

  /** From a heading to the next, of whatever depth; a comment in a block of shell has one `#`. Throws when there is none. */
  #section(heading: string): string {
    const parts = this.#text.split(/^##+ /m).filter((part) => part.startsWith(`${heading}\n`));
    if (parts.length !== 1) throw new Error(`the page has ${parts.length} headings "${heading}", not one`);
    return parts[0]!;
  }

  /** The only block in this language. */
  block(language: string): string {
    const found = this.#blocks(language, this.#text);
    if (found.length !== 1) throw new Error(`${found.length} blocks of ${language}, not one`);
    return found[0]!;
  }

  /** What is typed under a heading, in order. */
  commands(heading: string): Commands[] {
    return this.#blocks("sh", this.#section(heading)).map((block) => {
      const [first = "", ...lines] = block.split("\n");
      return { machines: first.replace(/^# /, "").split(/, | and /), text: lines.join("\n") };
    });
  }

  #blocks(language: string, text: string): string[] {
    return [...text.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, "gms"))].map(([, body]) => body!);
  }
}
