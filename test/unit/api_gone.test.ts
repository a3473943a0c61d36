/** A node that stops in the middle of a call, without a word: its kernel still takes connections, nobody answers them. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type ApiHost, callNode, createApi, serveMembers } from "../../core/api/api.ts";
import { createCluster, createToken, joinCluster, loadCluster } from "../../core/cluster/cluster.ts";
import { MemoryEngine } from "./memory_engine.ts";

const CHILD = "--member";

/** Serves the member of a var directory until killed. */
function serve(varDir: string): { close(): void } {
  const cluster = loadCluster(varDir)!;
  const engine = new MemoryEngine(cluster.node, cluster.name);
  void engine.applyModule("db", "a".repeat(40), { dryRun: false });
  const host: ApiHost = {
    varDir,
    engine: () => engine,
    cluster: () => cluster,
    clusterChanged: async () => {},
    takeClusterYaml: async () => {},
    settleClusterYaml: async () => true,
    heartbeats: () => ({ hears: {}, troubles: {}, counters: {} }),
    clockStep: () => null,
  };
  return serveMembers(cluster, createApi(host), (_address, error) => console.error(error.message));
}

async function parent(): Promise<void> {
  // Not for the child, which runs without the preload that tap needs.
  const { default: t } = await import("tap");
  const directory = mkdtempSync(join(tmpdir(), "gone-"));
  const port = 20_000 + (process.pid % 20_000);
  const subnet = `127.${1 + (process.pid % 250)}.7`;
  const yaml = `name: gone
nodes:
  n1: { addresses: { lan: ${subnet}.1 } }
  n2: { addresses: { lan: ${subnet}.2 } }
port: ${port}
`;
  const cluster = await createCluster(join(directory, "n1"), yaml, "n1");
  const server = serve(cluster.varDir);
  await joinCluster(join(directory, "n2"), createToken(cluster).token, "n2");
  server.close();
  const child = Bun.spawn([process.execPath, import.meta.path, CHILD, join(directory, "n2")], {
    stdout: "inherit",
    stderr: "inherit",
  });
  t.teardown(() => {
    child.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  });
  for (let i = 0; i < 100 && (await callNode(cluster, "n2", "GET", "/nothing")).status === 3; i++)
    await Bun.sleep(50);

  await t.test("a call to it is given up in seconds, not minutes", async (t) => {
    const waiting = callNode(cluster, "n2", "POST", "/modules/db/wait", {
      states: ["PRIM"],
      timeoutMs: 600_000,
    });
    await Bun.sleep(300);
    child.kill("SIGSTOP");
    const since = performance.now();
    t.match(await waiting, { status: 3, message: /n2 does not answer: it stopped answering in the middle/ });
    t.ok(performance.now() - since < 20_000);
    t.match(await callNode(cluster, "n2", "GET", "/modules"), { status: 3 });
  });

  await t.test("when it goes on, so do calls", async (t) => {
    child.kill("SIGCONT");
    let last = await callNode(cluster, "n2", "GET", "/nothing");
    for (let i = 0; i < 20 && last.status === 3; i++) last = await callNode(cluster, "n2", "GET", "/nothing");
    t.match(last, { status: 2 });
  });
}

if (process.argv[2] === CHILD) serve(process.argv[3]!);
else await parent();
