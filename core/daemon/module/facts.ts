/**
 * What a node keeps about a module beside its files and its history: its number in the cluster, the boot setting of this node.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { MAC_TEXT } from "../../network/address.ts";
import { writeDurably } from "../../platform/durable_file.ts";

/** A `MaintenanceWord`, as it is kept. */
const maintenanceSchema = v.object({
  on: v.boolean(),
  stamp: v.number(),
  since: v.pipe(v.string(), v.maxLength(64)),
  by: v.pipe(v.string(), v.maxLength(256)),
});

const factsSchema = v.object({
  name: v.string(),
  /** Place in the cluster, from 1. */
  number: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(32)),
  /** `holdfast boot` on this node; null follows module.yaml. */
  boot: v.nullable(v.picklist(["always", "never", "auto"])),
  /** Resources whose checkers a person has switched off on this node; `*` is every one. */
  checkersOff: v.exactOptional(v.array(v.string())),
  /** What a person last said of its maintenance. */
  maintenance: v.exactOptional(maintenanceSchema),
  /** Of a farm with a virtual IP of its own, on this node. Times are the wall clock's, ms. */
  farm: v.exactOptional(
    v.object({
      /** It takes clients: where that is found at a start, they were left without a word. */
      isOpen: v.boolean(),
      leavings: v.object({ at: v.array(v.number()), holds: v.number(), until: v.number() }),
      /** It is drained, at most until then. */
      drained: v.nullable(v.number()),
      /** By other node, the MAC address that it had when it was heard last, as long as it took part then. */
      macs: v.exactOptional(v.record(v.string(), v.pipe(v.string(), v.regex(MAC_TEXT)))),
      /** Of each bucket that came to this node while it was open, the node that had it, and when. */
      gained: v.exactOptional(v.array(v.tuple([v.pipe(v.number(), v.integer()), v.string(), v.number()]))),
    }),
  ),
  /** Heartbeat timeouts, ms, that the peer may still go by, since it was not heard with the revision that works here. */
  formerTimeouts: v.exactOptional(v.object({ least: v.number(), most: v.number() })),
});

/** See the schema above. */
export type ModuleFacts = v.InferOutput<typeof factsSchema>;

/** The facts of every module of the node, by number. Throws, naming the file, on one that is damaged. */
export function moduleFacts(varDir: string): ModuleFacts[] {
  const directory = join(varDir, "state");
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .map((name) => join(directory, name, "module.json"))
    .filter((file) => existsSync(file))
    .map((file) => {
      try {
        return v.parse(factsSchema, JSON.parse(readFileSync(file, "utf8")));
      } catch (error) {
        throw new Error(`${file} is damaged: ${(error as Error).message}; apply the module again`);
      }
    })
    .sort((a, b) => a.number - b.number);
}

/** The facts of one module; null where there are none that can be read. */
export function factsOf(varDir: string, name: string): ModuleFacts | null {
  try {
    return v.parse(factsSchema, JSON.parse(readFileSync(join(varDir, "state", name, "module.json"), "utf8")));
  } catch {
    return null;
  }
}

/** Writes the facts of one module durably. */
export async function writeModuleFacts(varDir: string, facts: ModuleFacts): Promise<void> {
  await writeDurably(join(varDir, "state", facts.name, "module.json"), `${JSON.stringify(facts, null, 1)}\n`);
}
