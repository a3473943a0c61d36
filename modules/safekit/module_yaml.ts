/** The text of module.yaml. */
// `@std/yaml` is an alias of the npm package yaml (package.json).
import { stringify } from "@std/yaml";

const HEAD = `# Made from a SafeKit package. safekit/report.txt says what became of each line of its userconfig.xml.
# Nodes and networks are named as in SafeKit's cluster: see that cluster.yaml has the same names.
`;
/** The file. */
export function moduleYaml(config: Record<string, unknown>): string {
  const style = { lineWidth: 0, defaultStringType: "QUOTE_DOUBLE", defaultKeyType: "PLAIN" } as const;
  return `${HEAD}\n${stringify(config, style)}`;
}
