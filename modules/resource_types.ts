/**
 * The names of a module's resources as a type, for `.holdfast/`: an editor proposes them in rules.ts, and knows no other.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { checksOf } from "../core/checks/module_checks.ts";
import { moduleSchema } from "./schema.ts";
import { readYaml, validateYaml } from "./yaml_document.ts";

/** What is set without a checker: a lan's heartbeat, what people set by hand, the port of the probe. */
// biome-ignore lint/suspicious/noTemplateCurlyInString: TypeScript, as text.
const OTHERS = ["`heartbeat.${string}`", "`custom.${string}`", '"probe.port"'];

/** The type, as text. Any name will do where module.yaml cannot be read. */
export function resourceType(directory: string): string {
  const file = join(directory, "module.yaml");
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  const { output } = validateYaml(readYaml(text, "module.yaml"), moduleSchema);
  if (output === null) return "string";
  return [...checksOf(output).map(({ resource }) => JSON.stringify(resource)), ...OTHERS].join(" | ");
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
