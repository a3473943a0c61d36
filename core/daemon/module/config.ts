/**
 * The hooks that prepare a node for a module, and clear away after it: `config` before a revision is taken, `deconfig` before the module is removed.
 * They belong to no state of the module: it may be stopped, or run meanwhile, and they must leave that alone.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { runHook } from "../../../hooks/runner.ts";
import type { ModuleDefinition } from "../../../modules/load.ts";
import type { Journal } from "../journal.ts";
import type { NodeParts } from "../node_parts.ts";
import { addressesOf } from "./hooks.ts";
import { ScriptOutput } from "./script_output.ts";

/** How long such a hook may take, ms: a hand-over waits for all nodes' at once. */
const LIMIT_MS = 10_000;

/** What its context says. */
interface Occasion {
  hook: "config" | "deconfig";
  /** The module's state on this node. */
  state: string;
  /** A sentence. */
  cause: string;
}

/** Runs the hook, where there is one and the module has this node. Returns "" or a sentence why it failed. */
export async function prepareNode(
  { varDir, cluster, secrets }: Pick<NodeParts, "varDir" | "cluster" | "secrets">,
  journal: Journal,
  definition: ModuleDefinition,
  { hook: name, state, cause }: Occasion,
): Promise<string> {
  const { config, hooks, directory: dir } = definition;
  const hook = hooks.get(name);
  const nodes = config.nodes ?? Object.keys(cluster.nodes);
  if (!hook || !nodes.includes(cluster.node)) return "";
  const output = new ScriptOutput({ varDir, cluster, definition, journal, secrets });
  journal.line("script", `Script ${name}`);
  try {
    mkdirSync(join(varDir, "log", definition.name), { recursive: true, mode: 0o700 });
    const result = await runHook({
      file: hook.file,
      kind: hook.kind,
      context: {
        module: definition.name,
        node: cluster.node,
        kind: config.kind,
        hook: name,
        action: name === "config" ? "apply" : "remove",
        from: state,
        to: state,
        cause,
        force: false,
        attempt: 1,
        vars: config.vars,
        dir,
        peers: cluster.peers
          .filter((peer) => nodes.includes(peer.name))
          .map((peer) => ({ name: peer.name, addresses: addressesOf(peer) })),
      },
      timeoutMs: LIMIT_MS,
      env: { HOLDFAST_VAR: varDir },
      permissions: config.permissions,
      ...output.place(),
      ...output.secrets(),
      onOutput: (line) => journal.line("script", line),
    });
    journal.line("script", `Script ${name} ended: ${result.detail}`);
    return result.ok
      ? ""
      : `${result.detail} (holdfast log ${definition.name} --node ${cluster.node} tells more)`;
  } catch (error) {
    // The log cannot be written, or secrets have no place in memory.
    return `${name}: ${(error as Error).message}`;
  }
}
