/** `holdfast verify`: where both copies can be compared, and what was found, in words, and as data for programs. */
import type { ModuleDefinition } from "../../../modules/load.ts";
import type { ModuleState } from "../../failover/types.ts";
import type { VerifyResult } from "../../filesystem/control.ts";
import type { CommandResult } from "../engine.ts";
import { replicationOf } from "./config.ts";
import type { ReplicationLink } from "./link.ts";

/**
 * Has the replication process compare both copies while the application runs. `state`: the module's on this node; `nodes`: their names, where
 * this one is the primary. On a secondary, the data says which node is.
 */
export async function verify(
  definition: ModuleDefinition,
  state: ModuleState,
  link: ReplicationLink,
  nodes: Readonly<Record<"primary" | "secondary", string>>,
): Promise<CommandResult> {
  const { name, config } = definition;
  const kind = config.kind === "mirror" ? "" : ` is a ${config.kind}: it`;
  if (!replicationOf(definition)) return { status: 2, message: `${name}${kind} replicates nothing` };
  if (state === "SECOND") {
    const primary = nodes.secondary;
    const message = `${name} is SECOND here, and the primary compares: holdfast verify ${name} --node ${primary}`;
    return { status: 1, message, data: { primary } };
  }
  if (state !== "PRIM")
    return {
      status: 1,
      message: `${name} is ${state} here: the copies are compared while one node is PRIM and the other SECOND`,
    };
  const { ok, detail, result } = await link.request({ op: "verify" });
  return ok ? verdictOf(name, result as VerifyResult, nodes) : { status: 1, message: detail };
}

/** Status 0: equal; 4: not, or not all of it could be compared. `nodes`: their names. */
export function verdictOf(
  module: string,
  result: VerifyResult,
  nodes: Readonly<Record<"primary" | "secondary", string>>,
): CommandResult {
  const { objects, bytes, differences } = result;
  const unreadable = result.unreadable.map((one) => ({ ...one, node: nodes[one.node] }));
  const data = { ...result, unreadable };
  const compared = `${objects} objects, ${bytes} bytes compared`;
  if (differences.length === 0 && unreadable.length === 0)
    return { status: 0, message: `both copies of ${module} are equal: ${compared}`, data };
  const found = [`${differences.length} differences`];
  if (unreadable.length > 0) found.push(`${unreadable.length} cannot be compared`);
  const lines = [
    ...differences.map(({ path, what }) => `${path}: ${what}`),
    ...unreadable.map(
      ({ path, node, what, error }) => `${path}: ${what} cannot be read on ${node}: ${error}`,
    ),
  ];
  if (unreadable.length > 0) lines.push("mend, restore or remove what cannot be read, and verify again");
  return { status: 4, message: `${found.join(", ")} (${compared}):\n${lines.join("\n")}`, data };
}
