/**
 * Starts Redis, and returns when it has read its append-only file and answers.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { $, defineHook, log } from "holdfast";
import { answers, passwordOf } from "../lib/client.ts";
import { giveTo } from "../lib/owner.ts";
import { makeWhole, serverIn, untilServes } from "../lib/server.ts";

export default defineHook(async ({ vars, dir }) => {
  const { bin, user, data, port, run } = vars as Record<string, string>;
  if (!existsSync(data)) await makeWhole(data, user, async () => undefined);
  await giveTo(user, data);
  await $`install -d -o ${user} -g ${user} -m 2755 ${run}`;
  const logFile = `${dirname(data)}/redis.log`;
  if (serverIn(data, "redis-server") !== null) log("Redis runs already");
  else {
    await $`install -o ${user} -g ${user} -m 640 /dev/null ${logFile}`;
    const password = passwordOf(vars);
    const settings = [
      readFileSync(`${dir}/redis.conf`, "utf8"),
      ...[
        `dir "${data}"`,
        `port ${port}`,
        `unixsocket "${run}/redis.sock"`,
        `pidfile "${run}/redis.pid"`,
        `logfile "${logFile}"`,
        "daemonize yes",
      ],
      password === null ? "protected-mode no" : `requirepass ${JSON.stringify(password)}`,
    ];
    await $`runuser -u ${user} -- ${bin} -`.cwd("/").input(settings.join("\n"));
  }
  // In the background it is a process that we did not start ourselves, but it is in its directory from the first moment on.
  const pid = serverIn(data, "redis-server") ?? 0;
  await untilServes({ pid, name: "Redis", logFile }, () => answers(vars));
  log(`Redis answers on port ${port}`);
});
