/** userconfig.xml to module.yaml: what is replicated, and how. */
import { type AttributeRow, type ElementRow, none, OF_CLUSTER, type Place, same } from "./row.ts";
import { directory, duration, milliseconds, patternOf, singleName, whole } from "./values.ts";

const MOUNTED = none(
  "Holdfast mounts over the directory and renames nothing: give the data its own name back where SafeKit has renamed it",
);
const ALWAYS_READ_ONLY = "the directory is always read-only on the secondary";
const GUARDIAN = none("the replication process is watched by the guardian, at the heartbeat's pace");
const OWN = none("Holdfast chooses it itself");

/** Limits on how long the primary waits for its peer, with the unit that SafeKit counts in. Holdfast has one. */
const WAITS = ["sendtimeout", "locktimeout", "iotimeout"] as const;

/** The shortest of those that are there: after it the primary goes on alone, in SafeKit too. */
function shortestWait(_: string, { get }: Place): string {
  const given = WAITS.map((name) => get(name)).filter((value) => value !== undefined);
  return duration("ms")(String(Math.min(...given.map((value) => milliseconds(value, "s")))));
}

const wait: AttributeRow = {
  verdict: "approximated",
  to: "replicate.timeout",
  convert: shortestWait,
  say: "one limit for the peer's answer, then the primary goes on ALONE: the shortest of SafeKit's is taken",
};

export const RFS_ROWS: Readonly<Record<string, ElementRow>> = {
  rfs: {
    attributes: {
      mountoversuffix: MOUNTED,
      mountover: MOUNTED,
      acl: {
        verdict: "approximated",
        say: "access lists are always replicated",
        cases: { on: same("always replicated") },
      },
      async: {
        verdict: "approximated",
        to: "replicate.durability",
        convert: () => "write",
        absent: "second",
        say: "every write is with the peer before it returns, and fsync is on both disks. `durability: fsync` is faster, and enough for databases",
      },
      packetsize: OWN,
      reipacketsize: OWN,
      ruzone_blocksize: OWN,
      iotimeout: wait,
      locktimeout: wait,
      sendtimeout: wait,
      roflags: none(ALWAYS_READ_ONLY),
      nbrei: OWN,
      namespacepolicy: none(
        "only what changed is copied, after a crash too; an interrupted reintegration goes on where it was",
      ),
      reitimeout: none("replicate.timeout holds for reintegration too"),
      reicommit: OWN,
      reidetail: none("progress is in status and in the log"),
      allocthreshold: none("files are not allocated ahead"),
      nbremconn: OWN,
      checktime: GUARDIAN,
      checkintv: GUARDIAN,
      nfsbox_options: none("of Windows; on Linux nothing may be mounted below a replicated directory"),
      scripts: {
        verdict: "none",
        say: "replication calls no scripts: what _rfs_* scripts do has to find another place",
        cases: { off: same("replication calls no scripts") },
      },
      reiallowedbw: {
        verdict: "translated",
        to: "replicate.bandwidth",
        convert: (text) => (whole(text) === 0 ? undefined : `${whole(text)}kB/s`),
      },
      syncdelta: {
        verdict: "none",
        say: "a copy that may lack acknowledged data never starts by itself: `holdfast prim NAME --force` is a person's word",
        cases: {
          "0": same("as Holdfast does"),
          "0m": same("as Holdfast does"),
        },
      },
      syncat: none("replication is never put off to a time of day"),
      smartwrite: OWN,
    },
  },
  "rfs/flow": {
    attributes: { name: same("this network comes first under replicate.lans") },
  },
  "rfs/flow/server": { attributes: { addr: OF_CLUSTER } },
  "rfs/replicated": {
    list: "replicate.paths",
    key: () => "+",
    attributes: {
      dir: { verdict: "translated", to: "replicate.paths.{}.path", convert: directory },
      mode: {
        verdict: "none",
        say: ALWAYS_READ_ONLY,
        cases: {
          read_only: same(ALWAYS_READ_ONLY),
        },
      },
    },
  },
  "rfs/replicated/tocheck": {
    attributes: {
      path: {
        verdict: "approximated",
        to: "replicate.paths.{-1}.notEmpty",
        convert: () => true,
        say: "the directory must not be empty; whether this very name is there is not asked",
      },
    },
  },
  "rfs/replicated/notreplicated": {
    attributes: {
      path: {
        verdict: "approximated",
        to: "replicate.paths.{-1}.exclude.+",
        convert: singleName,
        say: "this name is left out wherever it is below the directory",
      },
      regexpath: {
        verdict: "approximated",
        to: "replicate.paths.{-1}.exclude.+",
        convert: patternOf,
        say: "as a pattern of names",
      },
    },
  },
};
