/**
 * The names of a module's resources as a type, for `.holdfast/`: an editor proposes them in rules.ts, and knows no other.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { checksOf, uncheckedOf } from "../core/checks/module_checks.ts";
import { moduleSchema } from "./schema.ts";
import { readYaml, validateYaml } from "./yaml_document.ts";

/** A name as a type: a word in angle brackets stands for any. */
function typeOf(name: string): string {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: TypeScript, as text.
  const pattern = name.replace(/<\w+>/g, () => "${string}");
  return pattern === name ? JSON.stringify(name) : `\`${pattern}\``;
}

/** The type, as text. Any name will do where module.yaml cannot be read. */
export function resourceType(directory: string): string {
  const file = join(directory, "module.yaml");
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  const { output } = validateYaml(readYaml(text, "module.yaml"), moduleSchema);
  if (output === null) return "string";
  const names = [
    ...checksOf(output).map(({ resource }) => resource),
    ...uncheckedOf(output, null).map(({ name }) => name),
  ];
  return names.map(typeOf).join(" | ");
}

/** The SDK's source, for this module. */
export function withResources(
  sdk: Readonly<Record<string, string>>,
  directory: string,
): Record<string, string> {
  const mod = sdk["mod.ts"]!.replace(
    /^type ModuleResource = string;$/m,
    () => `type ModuleResource = ${resourceType(directory)};`,
  );
  return { ...sdk, "mod.ts": mod };
}
