/** A command that takes long is answered when it is done: verify of a large tree takes minutes, and says nothing meanwhile. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { localApi } from "../../core/api/local_client.ts";
import type { Api } from "../../core/api/routes.ts";
import { serveLocal } from "../../core/api/servers.ts";

/** Beyond the 10 s after which Bun ends what is silent; it looks every 4 s. */
const LONG_MS = 15_000;

t.test("a request that is silent for long is not cut off, with a body or without", async (t) => {
  const varDir = mkdtempSync(join(tmpdir(), "holdfast-patience-"));
  t.teardown(() => rmSync(varDir, { recursive: true, force: true }));
  const handle = async (): Promise<Response> => {
    await Bun.sleep(LONG_MS);
    return Response.json({ status: 0, message: "equal" });
  };
  const server = await serveLocal(varDir, { handle } as unknown as Api);
  t.teardown(() => server.close());
  const api = localApi(varDir);
  const answers = await Promise.all([
    api.call("POST", "/modules/db/verify", undefined),
    api.call("POST", "/modules/db/start", {}),
    api.call("GET", "/modules/db/wait", undefined),
  ]);
  t.same(
    answers.map(({ ok }) => ok),
    [true, true, true],
  );
});
