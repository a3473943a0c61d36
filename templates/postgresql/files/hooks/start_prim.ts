/**
 * Starts PostgreSQL, after making its cluster when there is none, and returns when it accepts connections.
 */
import { existsSync, readFileSync, readlinkSync, realpathSync, rmSync } from "node:fs";
import { appendFile } from "node:fs/promises";
import { dirname } from "node:path";
import { $, defineHook, log } from "holdfast";

/** Is the server of the lock file alive here? The file also survives a failover, and then its pid means nothing. */
function runsHere(data: string): boolean {
  try {
    const pid = readFileSync(`${data}/postmaster.pid`, "utf8").split("\n")[0];
    return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(data);
  } catch {
    return false;
  }
}

export default defineHook(async ({ vars }) => {
  const { bin, user, data, port, sockets, allow, auth } = vars;
  if (!existsSync(`${data}/PG_VERSION`)) {
    log(`${data} is empty: making a database cluster`);
    await $`install -d -o ${user} -g ${user} -m 700 ${data}`;
    await $`runuser -u ${user} -- ${bin}/initdb -D ${data} --data-checksums --auth-local=peer --auth-host=${auth}`;
    await appendFile(`${data}/pg_hba.conf`, `host all all ${allow} ${auth}\n`);
  }
  if (runsHere(data)) {
    log("PostgreSQL runs already");
    return;
  }
  rmSync(`${data}/postmaster.pid`, { force: true });
  await $`install -d -o ${user} -g ${user} -m 2775 ${sockets}`;
  const logFile = `${dirname(data)}/postgresql.log`;
  await $`install -o ${user} -g ${user} -m 640 /dev/null ${logFile}`;
  const options = `-p ${port} -c listen_addresses=* -c unix_socket_directories=${sockets}`;
  // No time limit of pg_ctl's own: recovery after a power cut may be long, and timeouts.start bounds it.
  try {
    await $`runuser -u ${user} -- ${bin}/pg_ctl start -D ${data} -w -t 86400 -s -l ${logFile} -o ${options}`;
  } catch (error) {
    log.error(`the end of ${logFile}:`);
    await $`tail -n 15 ${logFile}`;
    throw error;
  }
  log(`PostgreSQL accepts connections on port ${port}`);
});
