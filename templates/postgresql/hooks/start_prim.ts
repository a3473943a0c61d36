/**
 * Starts PostgreSQL, after making its cluster when there is none, and returns when it accepts connections.
 */
import { existsSync, readFileSync, readlinkSync, realpathSync, renameSync, rmSync } from "node:fs";
import { appendFile } from "node:fs/promises";
import { dirname } from "node:path";
import { $, defineHook, log } from "holdfast";

/** Lines of a file, none when it is not there. */
function lines(file: string): string[] {
  return existsSync(file) ? readFileSync(file, "utf8").split("\n") : [];
}

/** Is the server of the lock file alive here? The file also survives a failover, and then its pid means nothing. */
function runsHere(data: string): boolean {
  try {
    return readlinkSync(`/proc/${lines(`${data}/postmaster.pid`)[0]}/cwd`) === realpathSync(data);
  } catch {
    return false;
  }
}

/** Removes what a server that was killed left behind: by now its pid may be somebody else's, and PostgreSQL would believe it. */
function removeStaleLocks(data: string, socketLock: string): void {
  rmSync(`${data}/postmaster.pid`, { force: true });
  if (lines(socketLock)[1] === data) rmSync(socketLock);
}

/** Makes the database cluster beside its place: it gets its name when all of it is on disk, so that a power cut leaves all or none. */
async function makeCluster({ bin, user, data, allow, auth }: Record<string, string>): Promise<void> {
  const fresh = `${data}.new`;
  rmSync(fresh, { recursive: true, force: true });
  await $`install -d -o ${user} -g ${user} -m 700 ${fresh}`;
  const options = ["--data-checksums", "--auth-local=peer", `--auth-host=${auth}`];
  await $`runuser -u ${user} -- ${bin}/initdb -D ${fresh} ${options}`.cwd("/");
  await appendFile(`${fresh}/pg_hba.conf`, `host all all ${allow} ${auth}\n`);
  await $`sync ${fresh}/pg_hba.conf`;
  renameSync(fresh, data!);
  await $`sync ${dirname(data!)}`;
}

export default defineHook(async ({ vars }) => {
  const { bin, user, data, port, sockets } = vars;
  if (!existsSync(`${data}/PG_VERSION`)) {
    log(`${data} is empty: making a database cluster`);
    await makeCluster(vars);
  }
  if (runsHere(data)) {
    log("PostgreSQL runs already");
    return;
  }
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
