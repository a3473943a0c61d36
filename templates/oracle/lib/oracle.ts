/**
 * Oracle's own tools, as the user that owns the database.
 */
import { $, type Command } from "holdfast";

/** Runs a program of ORACLE_HOME/bin. */
export function oracle(vars: Readonly<Record<string, string>>, program: string, ...words: string[]): Command {
  const { home, sid, user } = vars as Record<string, string>;
  return $`runuser -u ${user} -- env ORACLE_HOME=${home} ORACLE_SID=${sid} ${home}/bin/${program} ${words}`.cwd(
    "/",
  );
}

/** What SQL*Plus says to these statements. It ends with 0 whatever they do, so its words count: `ORA-01034: ORACLE not available`. */
export async function sql(vars: Readonly<Record<string, string>>, ...statements: string[]): Promise<string> {
  const script = ["set heading off feedback off pagesize 0", ...statements, "exit"].join("\n");
  const { stdout, stderr } = await oracle(vars, "sqlplus", "-S", "-L", "/", "as", "sysdba")
    .input(`${script}\n`)
    .nothrow()
    .quiet();
  return `${stdout}${stderr}`.trim();
}

/** OPEN, MOUNTED or STARTED; DOWN when there is no instance. Throws what SQL*Plus says to anything else. */
export async function instance(vars: Readonly<Record<string, string>>): Promise<string> {
  const said = await sql(vars, "select status from v$instance;");
  if (/ORA-(01034|27101|01012)/.test(said)) return "DOWN";
  const status = /^(OPEN|MOUNTED|STARTED)\b/m.exec(said)?.[1];
  if (status === undefined) throw new Error(`sqlplus does not tell the instance's status: ${said}`);
  return status;
}

/** Throws the messages of Oracle's among what was said. */
export function refuseErrors(what: string, said: string): void {
  const errors = said.split("\n").filter((line) => /^(ORA|SP2|TNS|LRM)-\d+/.test(line.trim()));
  if (errors.length > 0) throw new Error(`${what}: ${errors.join("; ")}`);
}
