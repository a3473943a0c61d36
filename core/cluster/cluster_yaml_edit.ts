/** Changes to the text of a cluster.yaml that commands make: comments and order stay. */
// `@std/yaml` is an alias of the npm package yaml (package.json): the name on JSR, the document API of npm.
import { isMap, parseDocument } from "@std/yaml";
import { formatDuration } from "../../modules/units.ts";
import type { NodeWitnessConfig } from "../witness/config.ts";
import { parseClusterYaml } from "./cluster_yaml.ts";

/**
 * The text with this witness, or with none. A heartbeat timeout that was the default stays what it was, and is written down: the default depends on the witness,
 * and nodes that run must not come to different ones. Throws ConfigError when the text, or what comes of it, is no cluster.yaml.
 */
export function withWitness(text: string, witness: Omit<NodeWitnessConfig, "kind"> | null): string {
  const before = parseClusterYaml(text).heartbeat.timeoutMs;
  const document = parseDocument(text);
  if (witness === null) document.delete("witness");
  else {
    const { addresses, port, fingerprint } = witness;
    const node = document.createNode({ node: { addresses, port, fingerprint } }, { flow: true });
    document.set("witness", node);
  }
  const changed = document.toString({ lineWidth: 0 });
  if (parseClusterYaml(changed).heartbeat.timeoutMs === before) return changed;
  if (!isMap(document.get("heartbeat"))) document.set("heartbeat", document.createNode({}, { flow: true }));
  document.setIn(["heartbeat", "timeout"], formatDuration(before));
  return document.toString({ lineWidth: 0 });
}
