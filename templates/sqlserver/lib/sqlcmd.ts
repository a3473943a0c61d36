/**
 * Asks SQL Server by its own tool.
 */
import { $, secret } from "holdfast";

/** What it answers to a query, without headings. Throws CommandError with its words when it cannot. */
export async function ask(vars: Readonly<Record<string, string>>, query: string): Promise<string> {
  const { sqlcmd, server, login } = vars as Record<string, string>;
  // -b: an error is a failure. -l and -t: seconds to connect and to answer. -C: the server's certificate is its own.
  const options = ["-S", server, "-U", login, "-C", "-b", "-l", "5", "-t", "10", "-h", "-1", "-W"];
  // The password has no other way in without a terminal: an argument would be seen by every user of the machine.
  const asked = $`${sqlcmd} ${options} -Q ${`set nocount on; ${query}`}`.env({
    SQLCMDPASSWORD: secret("password"),
  });
  return (await asked.text()).trim();
}
