/** What a disk cannot read: PRIM does not pass it over, and the target does not take it for gone; it does not count as up to date (G3). */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { VerifyResult } from "../../core/filesystem/control.ts";
import { unmountDead } from "../../core/filesystem/mounts/dead_mounts.ts";
import { KnownPlaces } from "../../core/filesystem/objects/known_places.ts";
import { BackingTree } from "../../core/filesystem/objects/source_tree.ts";
import { ReplicaRoots } from "../../core/filesystem/replica/replica_identity.ts";
import { TargetTree } from "../../core/filesystem/second/reintegration/target_tree.ts";
import { ZONE } from "../../core/filesystem/verify/verify.ts";
import { errnoName } from "../../core/platform/linux/errno.ts";
import { Level, Marks } from "../../core/replication/marks.ts";
import { LabDisk, noDisks } from "./replication_disks.ts";
import { becomesEqual, generation, makeLab, shell } from "./replication_lab.ts";

const why = noDisks();
if (why !== false) t.plan(0, why);
t.setTimeout(400_000);
const base = `/tmp/holdfast-unreadable-${process.pid}`;
const disk = new LabDisk(`${base}-disk`, "n1");
const lab = makeLab(base, 21000 + (process.pid % 20000), {}, (name) =>
  name === "n1" ? disk.data : join(base, name, "data"),
);
const { n1, n2 } = lab;
t.teardown(async () => {
  await lab.close();
  disk.remove();
  rmSync(`${base}-disk`, { recursive: true, force: true });
});

/** The identity of no object. */
const LOST = 12345;

/** Waits for what PRIM says next of a reintegration that begins after report number `from`. */
async function outcome(from: number): Promise<string> {
  const find = (): string | undefined =>
    n1.reports
      .slice(from)
      .map(({ kind }) => kind)
      .find((kind) => kind === "peerGone" || kind === "inSync");
  await n1.until(() => find() !== undefined, "an end of the reintegration");
  return find()!;
}

t.test("what cannot be read is not passed over", async (t) => {
  // The data that is lost lies behind all else on the disk, the journal included.
  await shell(
    disk.data,
    `mkdir names sub; echo in > names/in; echo deep > sub/deep; echo whole > inode; echo other > identity
    for i in 1 2 3 4 5 6 7 8; do echo $i > near$i; done
    head -c 100000 /dev/urandom > attributes
    fallocate -l 160M data; fallocate -c -o 0 -l 159M data; dd if=/dev/urandom of=data bs=1M count=1 conv=notrunc`,
  );
  // The identity of one is found beside the inode (it is another's, and does not count), of the other where the rest is.
  await shell(
    disk.data,
    `setfattr -n trusted.holdfast -v 0x${"1".repeat(32)} attributes
    for i in attributes identity; do setfattr -n user.long -v ${"a".repeat(600)}$i $i; done; sync -f .`,
  );
  disk.remount();
  const damage = [
    { what: "an inode", detail: /\/data cannot be listed: E/, mend: disk.spoilInode("inode") },
    { what: "an identity", detail: /\/data cannot be listed: E/, mend: disk.spoilAttributes("identity") },
    { what: "names", detail: /data\/names cannot be listed: EBADMSG/, mend: disk.spoilNames("names") },
    {
      what: "attributes",
      detail: /data\/attributes has attributes that cannot be read: EUCLEAN/,
      mend: disk.spoilAttributes("attributes"),
    },
    // In the midst of what is read at once.
    {
      what: "data",
      detail: /data\/data cannot be read after byte 262144: EIO/,
      mend: disk.spoilData("data", 300 * 1024),
    },
  ];
  await n1.start();
  await n2.start();
  await n1.must({ op: "serve", alone: true, generations: generation("g1") });
  await n2.must({ op: "follow", full: false, sacrifice: false, generations: generation("") });
  let from = 0;
  for (let left = damage; left.length > 0; ) {
    const names = left.map(({ what }) => what).join(", ");
    t.equal(await outcome(from), "peerGone", `without ${names} the reintegration does not succeed`);
    t.notOk(
      n2.reports.some(({ kind }) => kind === "caughtUp" || kind === "inSync"),
      "the target does not count",
    );
    const report = n1.reports.slice(from).find((candidate) => candidate.kind === "diskFailed");
    const found = left.find(({ detail }) => report?.kind === "diskFailed" && detail.test(report.detail));
    t.ok(found, `said why: ${JSON.stringify(report)}`);
    from = n1.reports.length;
    found?.mend();
    left = left.filter((candidate) => candidate !== found);
    if (found === undefined) break;
  }
  t.equal(await outcome(from), "inSync", "mended, all of it is copied");
  t.same(await becomesEqual(n1, n2), []);
});

t.test("what gives way in a split brain and cannot be kept whole is not overwritten (G5)", async (t) => {
  const from = n1.reports.length;
  await n2.kill();
  await n1.reported("peerGone", from);
  const mine = generation("g2", "g1");
  await n1.must({ op: "goAlone", generations: mine });
  await shell(n1.directory, "echo loser > both; echo loser > names/new; sync -f .");
  await n1.kill();
  unmountDead(n1.directory);
  await n2.start();
  await n2.must({ op: "serve", alone: true, generations: generation("g2b", "g1") });
  await shell(n2.directory, "echo winner > both; sync -f .");

  disk.remount();
  const mend = disk.spoilNames("names");
  await n1.start();
  const giveWay = (): Promise<unknown> =>
    n1.must({ op: "follow", full: false, sacrifice: true, generations: mine });
  await giveWay();
  await n1.until(() => n1.logs.some((line) => line.includes("to be kept: EBADMSG")), "EBADMSG");
  t.equal(readFileSync(join(n1.directory, "both"), "utf8"), "loser\n");
  const { savedDir } = n1.config;
  t.same(existsSync(savedDir) ? readdirSync(savedDir) : [], [], "nothing is half kept");

  mend();
  const [a, b] = [n1.reports.length, n2.reports.length];
  await giveWay();
  await n1.reported("inSync", a);
  await n2.reported("inSync", b);
  t.same(await becomesEqual(n1, n2), []);
  const saved = join(savedDir, readdirSync(savedDir)[0]!, "0");
  t.equal(readFileSync(join(saved, "both"), "utf8"), "loser\n");
  t.equal(readFileSync(join(saved, "names/new"), "utf8"), "loser\n");
});

t.test("what the target cannot list is not taken for empty", async (t) => {
  const from = n2.reports.length;
  await n1.kill();
  await n2.reported("peerGone", from);
  await n2.must({ op: "goAlone", generations: generation("g3", "g2b", ["g1"]) });
  await shell(n2.directory, "mv names/in moved; rm -r names; rm near1; sync -f .");
  unmountDead(n1.directory);
  disk.remount();
  const mend = disk.spoilNames("names");
  await n1.start();
  const heard = n1.reports.length;
  const follow = (): Promise<unknown> =>
    n1.must({ op: "follow", full: false, sacrifice: false, generations: generation("g2b", null, ["g1"]) });
  await follow();
  await n1.until(
    () => n1.reports.slice(heard).some(({ kind }) => kind === "diskFailed" || kind === "inSync"),
    "an end of the reintegration",
  );
  const reports = n1.reports.slice(heard);
  t.notOk(reports.some(({ kind }) => kind === "caughtUp"));
  const failure = reports.find((report) => report.kind === "diskFailed");
  t.match(failure, { detail: /n1\/data\/names cannot be listed: EBADMSG; mend/ });
  t.ok(existsSync(join(n1.directory, "near1")), "nothing was removed yet");
  mend();
  const [a, b] = [n1.reports.length, n2.reports.length];
  await follow();
  await n1.reported("inSync", a);
  await n2.reported("inSync", b);
  t.same(await becomesEqual(n1, n2), []);
});

t.test(
  "a tree that cannot be read whole is not searched, and a name not looked up, as if nothing were there",
  async (t) => {
    const own = new LabDisk(`${base}-disk`, "tree");
    t.teardown(() => own.remove());
    await shell(own.data, "mkdir names; echo in > names/in; echo x > inode; sync -f .");
    const roots = new ReplicaRoots([own.data], 1);
    const tops = roots.tops([null]).map(({ id }) => id);
    roots.close();
    own.remount();
    const mends = [own.spoilNames("names"), own.spoilInode("inode")];
    const damaged = new ReplicaRoots([own.data], 1);
    t.teardown(() => damaged.close());
    const tree = new TargetTree(damaged, [null], [own.data]);
    tree.setTop(0, tops[0]!);
    t.throws(() => tree.lookup(tops[0]!, "inode"), /data\/inode cannot be read: E/);
    t.throws(() => [...tree.walk()], /data cannot be listed: E/);
    mends[1]!();
    t.throws(() => [...tree.walk()], /data\/names cannot be listed: EBADMSG/);
    const marks = new Marks({ nodeNumber: 1, placeOf: () => null });
    marks.touchAttributes(LOST, Level.DIRTY);
    const source = new BackingTree(damaged.tops([null]), new KnownPlaces(), marks);
    t.teardown(() => source.close());
    for (const _ of source.verifying([LOST]));
    t.match(errnoName(source.unseen), "EBADMSG");
    t.equal(source.inWords(source.unseenIn, [{ path: own.data }]), `${own.data}/names`);
    mends[0]!();
    t.same(new Set([...tree.walk()].map(({ name }) => name)), new Set(["names", "in", "inode"]));
  },
);

t.test("trap 13: what cannot be read is not equal, on whichever side, or on both", async (t) => {
  const home = `${base}-verify`;
  const disks = { n1: new LabDisk(`${home}-disks`, "n1"), n2: new LabDisk(`${home}-disks`, "n2") };
  const pair = makeLab(home, 21100 + (process.pid % 20000), {}, (name) => disks[name as "n1" | "n2"].data);
  t.teardown(async () => {
    await pair.close();
    for (const one of Object.values(disks)) one.remove();
    rmSync(`${home}-disks`, { recursive: true, force: true });
  });
  await shell(
    disks.n1.data,
    `fallocate -l 160M data; fallocate -c -o 0 -l 159M data; dd if=/dev/urandom of=data bs=1M count=1 conv=notrunc
     mkdir names; echo in > names/in
     for i in here there; do mkdir -p hides-$i/below; echo in > hides-$i/below/in; echo out > hides-$i/beside
     setfattr -n user.long -v ${"a".repeat(600)}$i hides-$i/below; done
     for i in both here there; do echo $i > $i; setfattr -n trusted.holdfast -v 0x${"1".repeat(32)} $i
     setfattr -n user.long -v ${"a".repeat(600)}$i $i; done`,
  );
  await pair.n1.start();
  await pair.n2.start();
  await pair.n1.must({ op: "serve", alone: true, generations: generation("g1") });
  await pair.n2.must({ op: "follow", full: true, sacrifice: false, generations: generation("") });
  await pair.n2.reported("inSync");
  for (const node of [pair.n1, pair.n2]) {
    await node.must({ op: "stop" });
    await node.kill();
  }
  for (const one of Object.values(disks)) one.remount();
  for (const name of ["both", "here"]) disks.n1.spoilAttributes(name);
  for (const name of ["both", "there"]) disks.n2.spoilAttributes(name);
  disks.n1.spoilData("data", 300 * 1024);
  const [a, b] = [pair.n1.reports.length, pair.n2.reports.length];
  await pair.n1.start();
  await pair.n2.start();
  await pair.n1.must({ op: "serve", alone: true, generations: generation("g1") });
  await pair.n2.must({ op: "follow", full: false, sacrifice: false, generations: generation("g1") });
  await pair.n1.reported("inSync", a);
  await pair.n2.reported("inSync", b);
  // Who begins walks through all directories: this one only now, when the kernel has forgotten what it read.
  writeFileSync("/proc/sys/vm/drop_caches", "3");
  disks.n1.spoilNames("names");
  // Its identity: whoever lists what it is in does not learn who it is.
  disks.n1.spoilAttributes("hides-here/below");
  disks.n2.spoilInode("hides-there/below");
  const { result } = await pair.n1.must({ op: "verify" });
  const { differences, unreadable } = result as VerifyResult;
  t.same(differences, []);
  const found = unreadable.map(({ path, node, what, error }) =>
    [path.slice(pair.n1.directory.length), node, what, error].join(" "),
  );
  t.same(found.sort(), [
    "/both primary extended attributes EUCLEAN",
    "/both secondary extended attributes EUCLEAN",
    ...[1, 2, 3].map((zone) => `/data primary bytes ${zone * ZONE} to ${(zone + 1) * ZONE - 1} EIO`),
    "/here primary extended attributes EUCLEAN",
    "/hides-here primary names and what lies below EUCLEAN",
    "/hides-there secondary names EUCLEAN",
    "/hides-there/below secondary all of it EUCLEAN",
    "/hides-there/below/in secondary all of it EUCLEAN",
    "/names primary names and what lies below EBADMSG",
    "/there secondary extended attributes EUCLEAN",
  ]);
});
