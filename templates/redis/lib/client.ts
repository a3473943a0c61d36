/** Asks the server on its socket. The password goes through standard input: arguments and environments can be read by others. */
import { $, secret } from "holdfast";

/** The clients' password, or null when there is to be none. */
export function passwordOf(vars: Readonly<Record<string, string>>): string | null {
  return vars.auth === "none" ? null : secret("password");
}

/** True when the server answers: it has read its file, and takes commands. */
export async function answers(vars: Readonly<Record<string, string>>): Promise<boolean> {
  const password = passwordOf(vars);
  const lines = [...(password === null ? [] : [`AUTH ${JSON.stringify(password)}`]), "PING"];
  const { stdout } = await $`redis-cli -s ${vars.run}/redis.sock`
    .input(`${lines.join("\n")}\n`)
    .nothrow()
    .quiet();
  return stdout.trimEnd().endsWith("PONG");
}
