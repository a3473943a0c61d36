/**
 * The state of a module on PRIM is damaged while its daemon is away for an instant: nobody can tell any more what its copy is worth and what
 * it had promised. So nothing of it goes on there, SECOND takes over, and the damaged node says what is wrong and which command helps. The same
 * where its definition is lost, unless git has it still.
 */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import t from "tap";
import type { StatusDocument } from "../../core/daemon/engine.ts";
import { onRealNodes, startLife } from "./life.ts";
import { type Node, until } from "./testbed.ts";

t.setTimeout(400_000);

/** The module.yaml that works on a node. */
function definitionOf(node: Node): string {
  const revisions = node.on.path(`${node.varDir}/state/db/revisions`);
  return `${revisions}/${readdirSync(revisions)[0]}/module.yaml`;
}

t.test(
  "a damaged record, or definition: the application ends, the peer takes over, status names the remedy",
  onRealNodes,
  async (t) => {
    const life = await startLife(t);
    const { n1, n2 } = life;
    await life.writesGoOn("before");
    const dies = async (node: Node, meanwhile: () => void): Promise<void> => {
      const daemon = life.pidOf(node, "daemon");
      node.signal(daemon, "SIGKILL");
      await until("it is gone", () => !existsSync(`/proc/${daemon}`), 1000, 1);
      meanwhile();
      await node.startDaemon();
    };
    await dies(n1, () => writeFileSync(n1.on.path(`${n1.varDir}/state/db/record.json`), ""));
    await life.mirror.answeredBy(n2, 15_000);
    t.notOk(life.isAppAlive(n1), "nothing of the module runs where nobody keeps its promises");
    await life.writesGoOn("on the other node");
    life.nothingLost("on the other node", n2);

    const { state, reason, remedy } = await life.status(n1);
    t.equal(state, "STOP");
    t.match(reason, /what this copy is worth is not known: .*record\.json is damaged/, "status says why");
    t.equal(remedy, "holdfast second db --full", "and what helps");
    for (const command of [
      ["start", "db"],
      ["prim", "db"],
    ]) {
      const refused = await n1.holdfast(command, { mayFail: true });
      t.equal(refused.status, 1, `${command.join(" ")} is refused`);
      t.match(refused.stderr, /record\.json is damaged/, "and says why");
    }
    t.equal((await n1.holdfast(["stop", "db"])).status, 0, "what does not run can be stopped");
    await n1.holdfast(["second", "db", "--full"]);
    await life.comesTo("replaced", "SECOND Ready", "PRIM Ready", n2, 30_000);
    life.nothingLost("replaced", n1);
    await life.verified("replaced", n2);

    // The files of its revision are damaged: git has them still.
    await dies(n1, () => writeFileSync(definitionOf(n1), "kind: mirror\nreplicate: ["));
    await life.comesTo("laid down anew", "SECOND Ready", "PRIM Ready", n2);
    t.match(readFileSync(definitionOf(n1), "utf8"), /paths:/);

    // So is git: nobody can tell how to look after what still runs.
    await dies(n2, () => rmSync(n2.on.path(`${n2.varDir}/modules/db/.git`), { recursive: true }));
    await life.mirror.answeredBy(n1, 15_000);
    t.notOk(life.isAppAlive(n2), "nothing runs of a module that cannot be loaded");
    await life.writesGoOn("without its definition");
    life.nothingLost("without its definition", n1);
    await until("the other node has it still", () =>
      n2.json<StatusDocument>(["status"]).then(({ modules }) => modules["db"] !== undefined),
    );
    await n2.holdfast(["start", "db"]);
    await life.comesTo("its definition came again", "PRIM Ready", "SECOND Ready", n1);

    // Two replication processes in one directory would spoil what both know of it.
    const script = `mkdir /run/other; printf 'kind: mirror\\nreplicate:\\n  paths:\\n    - path: ${life.mirror.data}/below\\n' > /run/other/module.yaml`;
    await n1.exec(["bash", "-ec", script]);
    const taken = await n1.holdfast(["module", "apply", "other", "--from", "/run/other", "--no-types"], {
      mayFail: true,
    });
    t.equal(taken.status, 1, "another module cannot have a directory inside");
    t.match(taken.stderr, /overlaps .*, which db replicates on/, "and is told whose it is");
  },
);
