/** Trap 12: what somebody changed while the module was stopped is in no dirty map, and is found all the same. */
import { spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { becomesEqual, generation, type LabNode, makeLab, shell } from "./replication_lab.ts";

if (process.getuid?.() !== 0) t.plan(0, "needs root: mounts");
t.setTimeout(400_000);
const port = 21000 + (process.pid % 20000);
const lab = makeLab(`/tmp/holdfast-behind-${process.pid}`, port);
const { n1, n2 } = lab;
t.teardown(() => lab.close());
const together = generation("g1");

/** Waits until both say that they are in sync: `finished` is heard by then. */
async function follow(full = false, [source, target] = [n1, n2]): Promise<void> {
  const told = [source.reports.length, target.reports.length];
  await target.must({ op: "follow", full, sacrifice: false, generations: full ? generation("") : together });
  await source.reported("inSync", told[0]);
  await target.reported("inSync", told[1]);
}

/** Changes of every kind, the first of them under an unchanged size and modification time. */
const meddle = (node: LabNode): void => {
  const script = `printf meddled | dd of=a/f7 bs=1 seek=5000 conv=notrunc 2>/dev/null; touch -r a/f8 a/f7
    rm a/f1; mv a/f2 b/f2; mv a/sub b/sub2; echo more >> b/f2; chmod 600 a/f3; echo new > b/new; ln a/f4 b/f4`;
  const { status, stderr } = spawnSync("sh", ["-ec", script], { cwd: node.directory });
  if (status !== 0) throw new Error(stderr.toString());
};

const madeAgain = `rm -rf a b; mkdir -p a/sub b; for i in $(seq 40); do head -c 100000 /dev/urandom > a/f$i; done
  echo deep > a/sub/deep; touch -r a/f8 a/f7; sync -f .`;

t.test("changed on the secondary: it becomes what the primary is", async (t) => {
  await n1.start();
  await n2.start();
  await n1.must({ op: "serve", alone: true, generations: together });
  await follow(true);
  await shell(n1.directory, madeAgain);
  t.same(await becomesEqual(n1, n2), []);
  await n1.pointPasses();
  await n2.must({ op: "exit" });
  t.ok(existsSync(join(n2.directory, ".holdfast/stopped")));
  meddle(n2);
  await n2.start();
  await follow();
  t.same(await becomesEqual(n1, n2), []);
  const { full, bytes } = n1.finished.at(-1)!;
  t.equal(full, false);
  t.ok(bytes < 600_000, `${bytes} bytes were moved`);
  t.match(n2.logs.join("\n"), /objects were changed while the module was stopped.*data\/a\/f7/);
  t.notOk(existsSync(join(n2.directory, ".holdfast/stopped")));
});

t.test("changed on the primary: the secondary gets it, and nothing else", async (t) => {
  await n1.must({ op: "exit" });
  await n2.must({ op: "exit" });
  spawnSync("sh", ["-ec", madeAgain.replace("rm -rf a b;", "mkdir -p c; cd c;")], { cwd: n1.directory });
  await n1.start();
  await n2.start();
  await n1.must({ op: "serve", alone: false, generations: together });
  await follow();
  t.same(await becomesEqual(n1, n2), []);
  await n1.must({ op: "exit" });
  await n2.must({ op: "exit" });
  meddle(n1);
  await n1.start();
  await n2.start();
  await n1.must({ op: "serve", alone: false, generations: together });
  await follow();
  t.same(await becomesEqual(n1, n2), []);
  const { full, bytes } = n1.finished.at(-1)!;
  t.equal(full, false);
  t.ok(bytes < 600_000, `${bytes} bytes were moved`);
});

t.test("nothing was changed: nothing is said, nothing is moved", async (t) => {
  await n1.pointPasses();
  await n1.must({ op: "exit" });
  await n2.must({ op: "exit" });
  await n1.start();
  await n2.start();
  const said = n1.logs.length + n2.logs.length;
  await n1.must({ op: "serve", alone: false, generations: together });
  await follow();
  t.equal(n1.finished.at(-1)!.bytes, 0);
  t.notMatch([...n1.logs, ...n2.logs].slice(said).join("\n"), /changed while/);
});

t.test(
  "many files: the mount does not wait, and what the application writes first is told apart",
  async (t) => {
    const many = makeLab(`/tmp/holdfast-behind-many-${process.pid}`, port + 10);
    const node = many.n1;
    t.teardown(() => many.close());
    await shell(
      node.directory,
      "mkdir -p d/d d2; cd d; seq 4000 | xargs touch; cd d; echo x > last; echo x > other",
    );
    await node.start();
    await node.must({ op: "serve", alone: true, generations: together });
    await many.n2.start();
    await follow(true, [node, many.n2]);
    await many.n2.must({ op: "exit" });
    await node.must({ op: "exit" });
    writeFileSync(join(node.directory, "d/d/last"), "meddled");
    await node.start();
    await node.must({ op: "serve", alone: true, generations: together });
    const isSearching = !node.logs.join("\n").includes("changed while");
    await shell(node.directory, "echo written >> d/d/last; echo written >> d/d/other");
    t.ok(existsSync(join(node.directory, "d/d/last")));
    t.ok(isSearching, "the mount was there before the search ended");
    await node.until(() => node.logs.join("\n").includes("changed while"), "the end of the search", 30_000);
    t.match(node.logs.join("\n"), /\b1 objects were changed .*: \S+\/d\/d\/last$/m);
  },
);
