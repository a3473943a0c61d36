/**
 * Starts MariaDB, after making its data directory when there is none, and returns when it answers queries.
 */
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { $, defineHook, log } from "holdfast";
import { giveTo } from "../lib/owner.ts";
import { makeWhole, serverIn, untilServes } from "../lib/server.ts";

export default defineHook(async ({ vars, dir }) => {
  const { bin, user, data, port, run } = vars as Record<string, string>;
  const options = [`--defaults-file=${dir}/mariadb.cnf`, `--user=${user}`];
  if (!existsSync(`${data}/mysql`)) {
    log(`${data} is empty: making a data directory`);
    await makeWhole(data, user, async (fresh) => {
      await $`mariadb-install-db ${options} --datadir=${fresh} --skip-test-db`.quiet();
    });
  }
  await giveTo(user, data);
  await $`install -d -o ${user} -g ${user} -m 755 ${run}`;
  const logFile = `${dirname(data)}/mariadb.log`;
  let pid = serverIn(data, "mariadbd");
  if (pid !== null) log("MariaDB runs already");
  else {
    const paths = [
      `--datadir=${data}`,
      `--socket=${run}/mysqld.sock`,
      `--pid-file=${run}/mysqld.pid`,
      `--port=${port}`,
    ];
    pid = Number(await $`setsid ${bin} ${options} ${paths} </dev/null >>${logFile} 2>&1 & echo $!`.text());
  }
  await untilServes({ pid, name: "MariaDB", logFile }, async () => {
    const answer = await $`mariadb --no-defaults --socket=${run}/mysqld.sock -e ${"select 1"}`
      .nothrow()
      .quiet();
    return answer.exitCode === 0;
  });
  log(`MariaDB answers queries on port ${port}`);
});
