/**
 * Starts PostgreSQL, after making its cluster when there is none, and returns when it accepts connections.
 */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { appendFile } from "node:fs/promises";
import { dirname } from "node:path";
import { $, defineHook, log } from "holdfast";
import { giveTo } from "../lib/owner.ts";
import { makeWhole, serverIn } from "../lib/server.ts";

/** Removes what a server that was killed left behind: by now its pid may be somebody else's, and PostgreSQL would believe it. */
function removeStaleLocks(data: string, socketLock: string): void {
  rmSync(`${data}/postmaster.pid`, { force: true });
  if (existsSync(socketLock) && readFileSync(socketLock, "utf8").split("\n")[1] === data) rmSync(socketLock);
}

export default defineHook(async ({ vars }) => {
  const { bin, user, data, port, sockets, allow, auth } = vars as Record<string, string>;
  if (!existsSync(`${data}/PG_VERSION`)) {
    log(`${data} is empty: making a database cluster`);
    await makeWhole(data, user, async (fresh) => {
      const options = ["--no-sync", "--data-checksums", "--auth-local=peer", `--auth-host=${auth}`];
      await $`runuser -u ${user} -- ${bin}/initdb -D ${fresh} ${options}`.cwd("/");
      await appendFile(`${fresh}/pg_hba.conf`, `host all all ${allow} ${auth}\n`);
    });
  }
  if (serverIn(data, "postgres") !== null) {
    log("PostgreSQL runs already");
    return;
  }
  await giveTo(user, data);
  removeStaleLocks(data, `${sockets}/.s.PGSQL.${port}.lock`);
  await $`install -d -o ${user} -g ${user} -m 2775 ${sockets}`;
  const logFile = `${dirname(data)}/postgresql.log`;
  await $`install -o ${user} -g ${user} -m 640 /dev/null ${logFile}`;
  const options = `-p ${port} -c listen_addresses=* -c unix_socket_directories=${sockets}`;
  // No time limit of pg_ctl's own: recovery after a power cut may be long, and timeouts.start bounds it.
  try {
    await $`runuser -u ${user} -- ${bin}/pg_ctl start -D ${data} -w -t 86400 -s -l ${logFile} -o ${options}`.cwd(
      "/",
    );
  } catch (error) {
    log.error(`the end of ${logFile}:`);
    await $`tail -n 15 ${logFile}`;
    throw error;
  }
  log(`PostgreSQL accepts connections on port ${port}`);
});
