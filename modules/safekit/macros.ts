/** `<macro name="X" value="v"/>`: %X% in what follows is v. */
import type { Element } from "./xml.ts";
import { PackageInvalid } from "./zip.ts";

const LIMIT_VALUE = 4096;
const LIMIT_TEXT = 64 * 1024;
const USE = /%([A-Za-z_][A-Za-z0-9_.-]{0,63})%/g;

/** The macros of a file, and what replaces their uses. */
export class Macros {
  readonly #values = new Map<string, string>();

  /** Collects the macros of the whole file. One may use those before it. Throws PackageInvalid. */
  constructor(root: Element, file: string) {
    const collect = (element: Element): void => {
      const name = element.attributes.get("name")?.value;
      const value = element.attributes.get("value")?.value;
      if (element.name === "macro" && name !== undefined && value !== undefined)
        this.#values.set(name, this.expand(value, LIMIT_VALUE, `${file}:${element.line}`));
      for (const child of element.children) collect(child);
    };
    collect(root);
  }

  /** Puts values in place of names, once. Throws PackageInvalid when the result is out of all proportion. */
  expand(text: string, limit: number, where: string): string {
    let length = text.length;
    return text.replace(USE, (use, name: string) => {
      const value = this.#values.get(name);
      if (value === undefined) return use;
      length += value.length;
      if (length > limit)
        throw new PackageInvalid(`${where}: its macros make a text longer than ${limit} characters`);
      return value;
    });
  }

  /** Replaces the uses in every attribute and text below `element`. */
  apply(element: Element, file: string): void {
    if (element.name !== "macro") {
      for (const attribute of element.attributes.values())
        attribute.value = this.expand(attribute.value, LIMIT_VALUE, `${file}:${attribute.line}`);
      element.text = this.expand(element.text, LIMIT_TEXT, `${file}:${element.line}`);
    }
    for (const child of element.children) this.apply(child, file);
  }
}

/** The first name in percent signs that is left: SafeKit would ask the environment for it. */
export function leftMacro(text: string): string | null {
  return text.match(USE)?.[0] ?? null;
}
