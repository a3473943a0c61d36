/**
 * A module's first files: a template's, with values of the user's in module.yaml.
 */
import { type Document, isCollection, isMap, isScalar, isSeq, parse, parseDocument } from "@std/yaml";
import type { Template } from "./catalog.ts";

/** `virtualIps.0.address=10.0.0.5/24`: a place in module.yaml and what to put there. */
export interface Setting {
  path: readonly (string | number)[];
  value: string;
}

/** Reads `path=value`. Throws RangeError with the expected form. */
export function parseSetting(text: string): Setting {
  const at = text.indexOf("=");
  const path = text.slice(0, Math.max(at, 0)).replaceAll(/\[(\d+)\]/g, ".$1");
  if (at < 1 || path.split(".").some((key) => key === ""))
    throw new RangeError(
      `"${text}" is not path=value, such as vars.port=8080 or virtualIps.0.address=10.0.0.5/24`,
    );
  return {
    path: path.split(".").map((key) => (/^\d+$/.test(key) ? Number(key) : key)),
    value: text.slice(at + 1),
  };
}

/** The template's files with `settings` put into its module.yaml; comments stay. Throws RangeError on a value that is not YAML. */
export function instantiate(
  template: Pick<Template, "files">,
  settings: readonly Setting[],
): Record<string, string> {
  // As it was written: what is laid out anew would be in conflict with the next version of the template.
  if (settings.length === 0) return { ...template.files };
  const document = parseDocument(template.files["module.yaml"] ?? "");
  for (const { path, value } of settings) {
    const before = document.getIn(path, true);
    // `vars.port=8080` stays a text where the template has a text: a number would be refused.
    if (isScalar(before) && typeof before.value === "string") before.value = value;
    else document.setIn(path, replacement(document, path, value, before));
  }
  return { ...template.files, "module.yaml": document.toString({ lineWidth: 0 }) };
}

/** What stands at `path` from now on, in the form and with the comment of what stood there before. */
function replacement(document: Document, path: Setting["path"], value: string, before: unknown): unknown {
  const isOneEnough = isListOfTexts(before);
  const read = readValue(path, value, isCollection(before) && !isOneEnough);
  // `services=nginx` is enough where there is a list.
  const node = document.createNode(isOneEnough && typeof read === "string" ? [read] : read);
  if (isCollection(before) && isCollection(node))
    Object.assign(node, { flow: before.flow, comment: before.comment });
  return node;
}

function isListOfTexts(node: unknown): boolean {
  return isSeq(node) && !node.items.some(isMap);
}

function readValue(path: Setting["path"], value: string, replacesCollection: boolean): unknown {
  let parsed: unknown;
  try {
    parsed = parse(value);
  } catch (error) {
    throw new RangeError(
      `${path.join(".")}: ${value} is not YAML: ${(error as Error).message.split("\n")[0]}`,
    );
  }
  if (replacesCollection && (parsed === null || typeof parsed !== "object"))
    throw new RangeError(
      `${path.join(".")} holds a list or a mapping: write it as YAML, such as '[a, b]' or '{ a: 1 }', or name a place inside it`,
    );
  // New entries of vars are texts, whatever they look like.
  return path[0] === "vars" && typeof parsed !== "string" ? value : parsed;
}
