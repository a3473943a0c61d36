/** A command that takes long is answered when it is done: verify of a large tree takes minutes, and says nothing meanwhile. */
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Api } from "../../core/api/host.ts";
import { DaemonUnreachable, localApi } from "../../core/api/local_client.ts";
import { serveLocal } from "../../core/api/servers.ts";

/** Beyond the 10 s after which Bun ends what is silent; it looks every 4 s. */
const LONG_MS = 15_000;

/** Asks a daemon that hangs: the kernel takes connections for a process that is stopped. */
async function askHung(t: Test): Promise<unknown> {
  const varDir = mkdtempSync(join(tmpdir(), "holdfast-patience-"));
  t.teardown(() => rmSync(varDir, { recursive: true, force: true }));
  mkdirSync(join(varDir, "run"));
  const server = createServer(() => undefined).listen(join(varDir, "run/api.sock"));
  t.teardown(() => server.close());
  await once(server, "listening");
  return await localApi(varDir)
    .call("GET", "/status")
    .catch((error: unknown) => error);
}

t.test(
  "a request that is silent for long is not cut off, with a body or without, and is when the daemon hangs",
  async (t) => {
    const varDir = mkdtempSync(join(tmpdir(), "holdfast-patience-"));
    t.teardown(() => rmSync(varDir, { recursive: true, force: true }));
    const handle = async (request: Request): Promise<Response> => {
      if (request.url.endsWith("/clock")) return Response.json({});
      await Bun.sleep(LONG_MS);
      return Response.json({ status: 0, message: "equal" });
    };
    const server = await serveLocal(varDir, { handle } as unknown as Api);
    t.teardown(() => server.close());
    const api = localApi(varDir);
    const [hung, ...answers] = await Promise.all([
      askHung(t),
      api.call("POST", "/modules/db/verify", undefined),
      api.call("POST", "/modules/db/start", {}),
      api.call("GET", "/modules/db/wait", undefined),
    ]);
    t.same(
      answers.map(({ ok }) => ok),
      [true, true, true],
    );
    t.ok(hung instanceof DaemonUnreachable, "exit status 3");
    t.match((hung as Error).message, /hangs or was stopped/);
  },
);
