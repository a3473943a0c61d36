/**
 * What is done in the directory on PRIM is done on SECOND: created, removed, renamed, linked, described. SECOND's directory is read-only.
 */
import t from "tap";
import { type Life, onRealNodes, startLife } from "./life.ts";
import { differences, treeOf } from "./life_tree.ts";
import { type Node, until } from "./testbed.ts";

t.setTimeout(400_000);

/** Everything that a directory entry can be (trap 11). */
const MAKE = [
  "mkdir -p deep/er empty 'with space' $'not\\xffutf8'",
  "echo one > one; echo two > deep/two; head -c 300000 /dev/urandom > deep/er/random",
  "ln one deep/er/hard; ln -s ../one deep/soft; ln -s /nowhere dangling",
  "mkfifo pipe; mknod device c 1 3; mknod block b 7 99",
  "truncate -s 50M sparse; echo end | dd of=sparse bs=1 seek=30M conv=notrunc status=none",
  "chmod 4751 one; chmod 1777 empty; chown 1234:5678 deep/two; chown -h 12:34 dangling",
  "touch -h -d '1965-03-04 05:06:07.123456789' deep/soft; touch -d '2001-02-03 04:05:06.000000001' deep/er/random",
  "setfattr -n user.colour -v red one; setfattr -n user.empty deep; setfattr -n trusted.secret -v 0x00ff one",
  "setfacl -m u:1234:rw,g:5678:r one; setfacl -d -m u:1234:rwx deep",
  "setcap cap_net_raw+ep deep/er/random 2>/dev/null || true",
  "for i in $(seq 200); do echo $i > 'with space'/f$i; done",
].join("\n");

/** And everything that can be done to it afterwards. */
const CHANGE = [
  "mv deep/er elsewhere; mv one 'with space'/one; mv -T empty deep/full",
  "rm 'with space'/f1*; rm dangling; echo more >> deep/two; truncate -s 7 elsewhere/random",
  "echo new > renamed-over; mv renamed-over 'with space'/f2; mkdir over; touch over/x; rm -r over",
  "setfattr -x user.colour elsewhere/hard; setfacl -b elsewhere/hard; chmod 600 'with space'/f3; touch -d @1 'with space'/f4",
  "ln 'with space'/f5 'with space'/again; rm 'with space'/f5; fallocate -p -o 0 -l 4096 sparse",
  "exec 3>held; echo unlinked >&3; rm held; echo still >&3; exec 3>&-",
].join("\n");

async function inData(life: Life, node: Node, script: string): Promise<void> {
  await node.exec(["bash", "-ec", script], { cwd: life.mirror.data });
}

/** Both trees become equal: the last pages of a file that nobody synced may take a second. */
async function equalTrees(life: Life, what: string): Promise<void> {
  const { n1, n2, mirror, t } = life;
  const compare = async (): Promise<string[]> =>
    differences(await treeOf(n1, mirror.data), await treeOf(n2, mirror.data));
  await until(what, async () => (await compare()).length === 0, 5000, 300).catch(() => undefined);
  t.same(await compare(), [], `${what}: both copies are equal`);
}

t.test("trap 11: created, changed, renamed, removed: equal on both", onRealNodes, async (t) => {
  const life = await startLife(t, { application: "sleep 100000" });
  const { n1, n2 } = life;
  await inData(life, n1, MAKE);
  await equalTrees(life, "everything made");
  t.ok((await treeOf(n2, life.mirror.data)).size > 210, "there is something to compare");
  await inData(life, n1, CHANGE);
  await equalTrees(life, "everything changed");
  await life.verified("everything changed", n1);

  const refused = await n2.exec(
    ["bash", "-c", "echo x > on-second; mkdir on-second; rm pipe; chmod 0 deep; echo y >> deep/two"],
    {
      cwd: life.mirror.data,
      mayFail: true,
    },
  );
  t.equal(refused.stderr.match(/Read-only file system/g)?.length, 5, "SECOND is read-only");
  await equalTrees(life, "after writing on SECOND was tried");

  const inodes = async (node: Node): Promise<string> =>
    (await node.exec(["bash", "-c", "find . -printf '%p %i\\n' | sort"], { cwd: life.mirror.data })).stdout;
  const before = await inodes(n1);
  await n1.holdfast(["swap", "db"]);
  await life.comesTo("swapped", "SECOND Ready", "PRIM Ready", n2);
  t.equal(await inodes(n2), before, "inode numbers survive");
  await inData(life, n2, "mv deep back; echo from-n2 > back/two; rm -r elsewhere");
  await equalTrees(life, "changed on the other node");
  await life.verified("changed on the other node", n2);
});

t.test("reintegration brings back what changed meanwhile: equal on both", onRealNodes, async (t) => {
  const life = await startLife(t, { application: "sleep 100000" });
  const { n1, n2 } = life;
  await inData(life, n1, MAKE);
  await n2.holdfast(["stop", "db"]);
  await life.comesTo("SECOND stopped", "ALONE Ready", "STOP NotReady", n1);
  await inData(life, n1, CHANGE);
  await n2.holdfast(["start", "db"]);
  await life.comesTo("SECOND is back", "PRIM Ready", "SECOND Ready", n1);
  await equalTrees(life, "after reintegration");
  await life.verified("after reintegration", n1);
  const { stdout } = await n1.holdfast(["log", "db"]);
  t.match(
    stdout + (await n2.holdfast(["log", "db"])).stdout,
    /Reintegration ended \(incremental\)/,
    "the log says what moved",
  );
});
