/**
 * Writes into one file, by fio.
 */
import type { Place } from "./places.ts";
import type { Effort, Measure, Workload } from "./workloads.ts";

/** The file that random writes go to, MiB. */
const RANDOM_FILE = 128;

/** What is used of fio's report. */
interface FioReport {
  jobs: { write: { bw_bytes: number; iops: number } }[];
}

async function fio(place: Place, file: string, args: string[]): Promise<{ bytes: number; writes: number }> {
  const common = [
    "--name=bench",
    `--filename=${place.directory}/${file}`,
    "--ioengine=psync",
    "--fallocate=none",
  ];
  const { stdout } = await place.exec(["fio", ...common, ...args, "--output-format=json"]);
  const { write } = (JSON.parse(stdout.slice(stdout.indexOf("{"))) as FioReport).jobs[0]!;
  return { bytes: write.bw_bytes, writes: write.iops };
}

/** Writes a new file from end to end. */
function sequential(measure: Measure, ...more: string[]): Workload {
  const remove = async (place: Place): Promise<void> => {
    await place.exec(["rm", "-f", `${place.directory}/sequential`]);
  };
  return {
    measures: [measure],
    run: async (place, { mebibytes }) => {
      await remove(place);
      const { bytes } = await fio(place, "sequential", [
        "--rw=write",
        "--bs=1M",
        `--size=${mebibytes}M`,
        ...more,
      ]);
      return [bytes / 1e6];
    },
    clean: remove,
  };
}

/** Writes 4 KiB at random places of a file that is there. */
function random(measure: Measure, ...more: string[]): Workload {
  const size = `--size=${RANDOM_FILE}M`;
  return {
    measures: [measure],
    prepare: async (place) => {
      await fio(place, "random", ["--rw=write", "--bs=1M", size, "--end_fsync=1"]);
    },
    run: async (place, { seconds }: Effort) => {
      const timed = ["--time_based", `--runtime=${seconds * 1000}ms`, "--norandommap"];
      const { writes } = await fio(place, "random", ["--rw=randwrite", "--bs=4k", size, ...timed, ...more]);
      return [writes];
    },
    clean: async (place) => {
      await place.exec(["rm", "-f", `${place.directory}/random`]);
    },
  };
}

/** Sequential and random writes, with and without fsync. */
export const dataWorkloads: readonly Workload[] = [
  sequential({ name: "sequential write", unit: "MB/s", aim: 0.6 }),
  sequential({ name: "sequential write, fsync at its end", unit: "MB/s", aim: null }, "--end_fsync=1"),
  random({ name: "random write 4 KiB, buffered", unit: "/s", aim: 0.45 }),
  random({ name: "random write 4 KiB + fsync", unit: "/s", aim: 0.6 }, "--fsync=1"),
];
