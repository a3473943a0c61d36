/** A daemon that wakes up after a while hears first whether its guardian fenced meanwhile; what waited elsewhere is acted on after that. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test as Tap } from "tap";
import { GuardianLink } from "../../core/daemon/guardian/link.ts";
import type { GuardianMessage, GuardianRequest } from "../../core/daemon/guardian/protocol.ts";

/** Stands still as by SIGSTOP: nothing of this process runs. */
const stand = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** Waits until the link may act. Others on this machine may make it stand still again and again: each time it asks anew. */
async function wakes(link: GuardianLink): Promise<void> {
  while (!link.isAwake()) await new Promise<void>((resolve) => link.once("awake", resolve));
}

/** A guardian that does what the test wants when it is asked. */
async function linkTo(
  t: Tap,
  asked: (say: (message: GuardianMessage) => void, socket: Socket) => void,
): Promise<GuardianLink> {
  const varDir = mkdtempSync(join(tmpdir(), "holdfast-awake-"));
  mkdirSync(join(varDir, "run"));
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    const say = (message: GuardianMessage): void => void socket.write(`${JSON.stringify(message)}\n`);
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => {
      for (const line of chunk.toString().trim().split("\n"))
        if ((JSON.parse(line) as GuardianRequest).op === "ask") asked(say, socket);
    });
    say({ type: "welcome", running: [], fenced: [], settled: {} });
  });
  await new Promise<void>((resolve) => server.listen(join(varDir, "run", "guardian.sock"), resolve));
  const link = new GuardianLink(varDir);
  await link.open();
  t.teardown(() => {
    link.removeAllListeners();
    for (const socket of sockets) socket.destroy();
    server.close();
    rmSync(varDir, { recursive: true, force: true });
  });
  return link;
}

t.test("after a pause the fence is heard before anything is acted on", async (t) => {
  const link = await linkTo(t, (say) => {
    say({ type: "fenced", id: 0, module: "db", ok: true, detail: "" });
    say({ type: "awake" });
  });
  await wakes(link);
  const heard: string[] = [];
  link.on("fenced", (module) => heard.push(`fenced ${module}`));
  const awake = new Promise<void>((resolve) =>
    link.on("awake", () => {
      heard.push("awake");
      resolve();
    }),
  );
  stand(150);
  t.notOk(link.isAwake());
  t.notOk(link.isAwake(), "until it has heard");
  await awake;
  t.same(heard, ["fenced db", "awake"]);
  await wakes(link);
});

t.test("a guardian that goes away meanwhile is not waited for", async (t) => {
  const link = await linkTo(t, (_, socket) => socket.destroy());
  const awake = new Promise<void>((resolve) => link.on("awake", resolve));
  stand(150);
  t.notOk(link.isAwake());
  await awake;
  t.ok(link.isAwake());
});

t.test("nor one that does not answer", async (t) => {
  const link = await linkTo(t, () => {});
  const awake = new Promise<void>((resolve) => link.on("awake", resolve));
  stand(150);
  t.notOk(link.isAwake());
  // As in a daemon, which gives signs of life all the time.
  const beating = setInterval(() => link.alive(), 50);
  await awake;
  await wakes(link);
  clearInterval(beating);
});
