/**
 * Power fencing on real nodes: parted from its primary, the secondary takes over once its hook `fence` has really cut that node's power, and not before.
 * The management board is this test: it has the only hand that reaches from one machine to another.
 */
import t from "tap";
import { onRealNodes } from "./life.ts";
import { createMirror, type Mirror, quietHooks } from "./mirror.ts";
import { type Node, until } from "./testbed.ts";

t.setTimeout(400_000);

const HOOK = `import { defineHook } from "holdfast";
export default defineHook(async ({ peers }) => {
  const answer = await fetch("http://board/" + peers[0].name, { method: "POST", unix: "RECORD/board.sock" });
  if (!answer.ok) throw new Error(await answer.text());
});
`;

const isApplicationAlive = (node: Node): boolean =>
  node.processes().some(({ command }) => command.startsWith("sleep 100000"));

/** A board that cuts a node's power when it is asked, once it works. */
function startBoard({ bed, n2 }: Mirror): {
  works: boolean;
  asked: string[];
  tookOver: boolean;
  stop(): void;
} {
  const board = { works: false, asked: [] as string[], tookOver: false, stop: () => void server.stop(true) };
  const server = Bun.serve({
    unix: `${bed.dir}/board.sock`,
    fetch: async (request) => {
      const name = new URL(request.url).pathname.slice(1);
      board.asked.push(name);
      if (!board.works) return new Response("the board does not answer", { status: 503 });
      board.tookOver ||= isApplicationAlive(n2);
      await bed.nodes.find((node) => node.name === name)!.powerCut();
      return new Response("off");
    },
  });
  return board;
}

t.test("a takeover waits for the hook that cuts the primary's power", onRealNodes, async (t) => {
  const mirror = await createMirror({ files: { ...quietHooks, "hooks/fence.ts": HOOK } });
  const { bed, n1, n2 } = mirror;
  const board = startBoard(mirror);
  t.teardown(async () => {
    board.stop();
    await bed.destroy();
  });
  await mirror.start();
  await bed.cut(n1, n2);
  await bed.cut(n2, n1);

  const told = async (): Promise<{ state: string; readiness: string; reason: string; remedy?: string }> =>
    (await n2.json<{ modules: { db: { nodes: { n2: Awaited<ReturnType<typeof told>> } } } }>(["status"]))
      .modules.db.nodes.n2;
  await until("the hook has failed", async () => (await told()).readiness === "NotReady");
  t.match(await told(), {
    state: "SECOND",
    reason:
      /fence failed on n2: .*exit status 1.*: n2 does NOT take over, since n1 may still run; tried again in 10 s/,
    remedy: "holdfast prim db --force",
  });
  t.same(board.asked, ["n1"]);
  t.ok(isApplicationAlive(n1), "the primary goes on");
  t.notOk(isApplicationAlive(n2), "alone");
  t.same(await mirror.whoAnswers(), ["n1"]);

  board.works = true;
  // A person need not wait for the pause.
  await n2.holdfast(["start", "db"]);
  await mirror.answeredBy(n2);
  await n2.holdfast(["wait", "db", "ALONE"]);
  t.same(board.asked, ["n1", "n1"]);
  t.notOk(board.tookOver, "n2 ran nothing before the power of n1 was cut");
  t.ok(isApplicationAlive(n2));
  const { stdout } = await n2.holdfast(["explain", "db"]);
  t.match(stdout, /cut the power of the other node \(hook fence\)/);
  t.same((await mirror.scripts(n2)).filter((name) => name === "fence").length, 2);
});
