/**
 * Many files: made one by one with fsync, unpacked, walked and removed.
 */
import { inNode, type Place } from "./places.ts";
import type { Workload } from "./workloads.ts";

const SOURCE = "/usr/include";

/** An archive of the machine's headers, made once for all places. */
async function archive(place: Place): Promise<string> {
  const path = "/run/bench-include.tar";
  const make = `[ -e ${path} ] || { tar -C ${SOURCE} -cf ${path}.part . && mv ${path}.part ${path}; }`;
  await place.exec(["bash", "-c", make]);
  return path;
}

/** Milliseconds that a command takes, measured beside it. */
const timed = (place: Place, ...argv: string[]): Promise<number> => inNode(place, "timed", ...argv);

/** Small files, and a tree of real ones. */
export const treeWorkloads: readonly Workload[] = [
  {
    measures: [{ name: "create + write + fsync of small files", unit: "ms", aim: 2 }],
    removes: true,
    run: async (place, { smallFiles }) => {
      const directory = `${place.directory}/small`;
      const time = await inNode(place, "smallFiles", directory, `${smallFiles}`);
      await place.exec(["rm", "-r", directory]);
      return [time];
    },
  },
  {
    measures: [
      { name: `untar of ${SOURCE}`, unit: "ms", aim: 5 },
      { name: "tree walk", unit: "ms", aim: 3 },
      { name: "rm -r", unit: "ms", aim: 3 },
    ],
    removes: true,
    prepare: async (place) => {
      await archive(place);
    },
    run: async (place) => {
      const tree = `${place.directory}/tree`;
      await place.exec(["mkdir", tree]);
      const untar = await timed(place, "tar", "-C", tree, "-xf", await archive(place));
      const walk = await timed(place, "find", tree, "-printf", "%i %s %T@\n");
      return [untar, walk, await timed(place, "rm", "-r", tree)];
    },
  },
];
