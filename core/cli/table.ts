/**
 * Every command, in the order in which help lists them.
 */
import type { Command } from "./command.ts";
import { ABOUT_COMMANDS } from "./commands/about.ts";
import { CLUSTER_COMMANDS } from "./commands/cluster.ts";
import { CONTROL_COMMANDS } from "./commands/control.ts";
import { EXPLAIN_COMMANDS } from "./commands/explain.ts";
import { FARM_COMMANDS } from "./commands/farm.ts";
import { MODULE_COMMANDS } from "./commands/module.ts";
import { NODE_COMMANDS } from "./commands/node.ts";
import { RESOURCE_COMMANDS } from "./commands/resources.ts";
import { SECRET_COMMANDS } from "./commands/secret.ts";
import { SERVICE_COMMANDS } from "./commands/service.ts";
import { SNAPSHOT_COMMANDS } from "./commands/snapshot.ts";
import { STATUS_COMMANDS } from "./commands/status.ts";
import { WITNESS_COMMANDS } from "./commands/witness.ts";

/** See the top of the file. */
export const COMMANDS: readonly Command[] = [
  ...NODE_COMMANDS,
  ...SERVICE_COMMANDS,
  ...CLUSTER_COMMANDS,
  ...WITNESS_COMMANDS,
  ...MODULE_COMMANDS,
  ...SECRET_COMMANDS,
  ...CONTROL_COMMANDS,
  ...EXPLAIN_COMMANDS,
  ...SNAPSHOT_COMMANDS,
  ...FARM_COMMANDS,
  ...STATUS_COMMANDS,
  ...RESOURCE_COMMANDS,
  ...ABOUT_COMMANDS,
];
