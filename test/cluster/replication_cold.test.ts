/** What is not in memory is fetched by other threads, and still sent in its place between live operations. */
import t from "tap";
import { becomesEqual, generation, makeLab, shell } from "./replication_lab.ts";

if (process.getuid?.() !== 0) t.plan(0, "needs root: mounts");
t.setTimeout(400_000);
const lab = makeLab(`/tmp/holdfast-cold-${process.pid}`, 21000 + (process.pid % 20000));
const { n1, n2 } = lab;
t.teardown(() => lab.close());

t.test("cold files are copied rightly while the application changes, moves and removes them", async (t) => {
  await shell(
    n1.directory,
    `for d in 1 2 3 4; do mkdir d$d; for f in $(seq 60); do head -c $((f * 3000)) /dev/urandom > d$d/$f; done; done
     for b in 1 2 3; do head -c 9000000 /dev/urandom > big$b; done
     truncate -s 20M sparse; echo end | dd of=sparse bs=1 seek=12345678 conv=notrunc 2>/dev/null
     mkfifo d1/pipe; ln -s 60 d2/link; ln d3/60 d4/hard; sync -f .
     for f in $(find . -type f); do dd if=$f iflag=nocache count=0 2>/dev/null; done`,
  );
  await n1.start();
  await n2.start();
  await n1.must({ op: "serve", alone: true, generations: generation("g1") });
  await n2.must({ op: "follow", full: false, sacrifice: false, generations: generation("") });
  await shell(
    n1.directory,
    `for f in $(seq 60); do echo live | dd of=d1/$f bs=1 seek=$((f * 1000)) conv=notrunc 2>/dev/null; mv d2/$f d3/moved$f; rm d4/$f; truncate -s $((f * 100)) d3/$f
       echo $f | dd of=big1 bs=1 seek=$((f * 150000)) conv=notrunc 2>/dev/null; done
     truncate -s 1000000 big2; rm big3; echo tail >> sparse; mv d1 d4/below`,
  );
  await n1.reported("inSync");
  t.same(await becomesEqual(n1, n2), []);
});
