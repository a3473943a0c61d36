/** The text of module.yaml: what this version takes, then as comments what it will take one day. */
// `@std/yaml` is an alias of the npm package yaml (package.json).
import { stringify } from "@std/yaml";
import type { Settled } from "./settings.ts";

const HEAD = `# Made from a SafeKit package. safekit/report.txt says what became of each line of its userconfig.xml.
# Nodes and networks are named as in SafeKit's cluster: see that cluster.yaml has the same names.
`;
const LATER = `
# What the package asks for and this version of Holdfast does not do yet:
#
`;

function yamlOf(value: Record<string, unknown>): string {
  return stringify(value, { lineWidth: 0, defaultStringType: "QUOTE_DOUBLE", defaultKeyType: "PLAIN" });
}

/** The file. */
export function moduleYaml({ config, later }: Settled): string {
  const comments =
    Object.keys(later).length === 0 ? "" : LATER + yamlOf(later).trimEnd().replace(/^/gm, "# ");
  return `${HEAD}\n${yamlOf(config)}${comments}${comments === "" ? "" : "\n"}`;
}
