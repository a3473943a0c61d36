/**
 * The templates podman and docker with their engines: a container that counts moves by a swap, is killed at a fencing though it is no child of
 * ours, and is found again after a power cut; no number that it told is ever told twice. `npm run campaign -- containers` has all of it for both.
 */
import t from "tap";
import { countThrough } from "../campaign/containers.ts";
import { docker, engineImpossible, podman } from "./containers.ts";

t.setTimeout(400_000);

for (const [engine, acts] of [
  [podman, ["swap", "kill"]],
  [docker, ["fencing", "powerCut"]],
] as const)
  t.test(
    `containers of ${engine.name}: ${acts.join(", ")}`,
    { skip: engineImpossible(engine) ?? false },
    async (t) => {
      t.pass(await countThrough(engine, acts, (line) => t.comment(line)));
    },
  );
