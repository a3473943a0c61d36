/**
 * userconfig.xml as a tree with line numbers. Nothing in the file can define anything: the only document type that passes is the bare name that
 * SafeKit's own files carry, so there are no entities but XML's five.
 */
import { SaxesParser } from "saxes";
import { PackageInvalid } from "./zip.ts";

/** One attribute. `line` counts from 1. */
export interface Attribute {
  value: string;
  line: number;
}

/** One element. `text` is its CDATA and character data, which begin at `textLine`. */
export interface Element {
  name: string;
  line: number;
  attributes: Map<string, Attribute>;
  children: Element[];
  text: string;
  textLine: number;
}

const LIMIT_BYTES = 1024 * 1024;
const LIMIT_DEPTH = 24;
const LIMIT_ELEMENTS = 5000;
const LIMIT_ATTRIBUTES = 64;
/** Encodings that such files are seen in; each is a superset of ASCII, so the declaration can be read before it is believed. */
const ENCODINGS: Readonly<Record<string, "utf-8" | "windows-1252">> = {
  "utf-8": "utf-8",
  "us-ascii": "utf-8",
  "iso-8859-1": "windows-1252",
  "windows-1252": "windows-1252",
};

/** Reads the file. Throws PackageInvalid with the line. */
export function readXml(bytes: Buffer, file: string): Element {
  if (bytes.length > LIMIT_BYTES) throw new PackageInvalid(`${file} is larger than 1 MiB`);
  return parse(decode(bytes, file), file);
}

function decode(bytes: Buffer, file: string): string {
  const declared = /^(?:\xef\xbb\xbf)?<\?xml[^>]*?\sencoding\s*=\s*["']([^"'>]{1,40})["']/.exec(
    bytes.subarray(0, 200).toString("latin1"),
  )?.[1];
  const named = (declared ?? "utf-8").toLowerCase();
  const encoding = Object.hasOwn(ENCODINGS, named) ? ENCODINGS[named] : undefined;
  if (encoding === undefined)
    throw new PackageInvalid(`${file}:1: encoding ${JSON.stringify(named)} is not read: save it as UTF-8`);
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    throw new PackageInvalid(`${file}: is not ${named}`);
  }
}

function parse(text: string, file: string): Element {
  const parser = new SaxesParser({ position: true });
  const refuse = (message: string): never => {
    throw new PackageInvalid(`${file}:${parser.line}: ${message}`);
  };
  const open: Element[] = [];
  let root: Element | null = null;
  let count = 0;
  let current: Element | null = null;
  parser.on("error", (error) => refuse(`not valid XML: ${error.message.replace(/^\d+:\d+: /, "")}`));
  parser.on("doctype", (doctype) => {
    if (!/^\s*safe\s*$/.test(doctype))
      refuse(
        "a document type that declares something, or names another file, is refused: only <!DOCTYPE safe> may stand here",
      );
  });
  parser.on("opentagstart", ({ name }) => {
    if (++count > LIMIT_ELEMENTS) refuse(`more than ${LIMIT_ELEMENTS} elements`);
    if (open.length >= LIMIT_DEPTH) refuse(`elements nest deeper than ${LIMIT_DEPTH}`);
    current = { name, line: parser.line, attributes: new Map(), children: [], text: "", textLine: 0 };
  });
  parser.on("attribute", ({ name, value }) => {
    const { attributes } = current!;
    if (attributes.has(name)) refuse(`attribute ${name} is there twice`);
    if (attributes.size >= LIMIT_ATTRIBUTES) refuse(`more than ${LIMIT_ATTRIBUTES} attributes`);
    attributes.set(name, { value, line: parser.line });
  });
  parser.on("opentag", () => {
    open.at(-1)?.children.push(current!);
    root ??= current;
    open.push(current!);
  });
  parser.on("closetag", () => {
    open.pop();
  });
  const addText = (more: string) => {
    const element = open.at(-1);
    if (!element || (element.text === "" && more.trim() === "")) return;
    if (element.text === "") element.textLine = parser.line - more.split("\n").length + 1;
    element.text += more;
  };
  parser.on("text", addText);
  parser.on("cdata", addText);
  parser.write(text).close();
  return root ?? refuse("there is no element");
}
