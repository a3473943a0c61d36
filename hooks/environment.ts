/**
 * The environment of hooks: made from nothing, so that nothing in the daemon's own can run code or change a hook's result.
 */

/** Where hooks find commands, whatever PATH the daemon was started with. */
export const HOOK_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Names that make the loader or a runtime run other code: never handed on, whoever asks. */
const DANGEROUS =
  /^(BUN_|LD_|DYLD_|NODE_OPTIONS$|NODE_PATH$|BASH_ENV$|ENV$|GCONV_PATH$|PYTHONPATH$|PERL5?(LIB|OPT))/;

/** A clean environment with `additions`; dangerous names among them are left out. */
export function hookEnvironment(additions: Readonly<Record<string, string>>): Record<string, string> {
  const environment: Record<string, string> = {
    PATH: HOOK_PATH,
    HOME: "/root",
    LANG: "C.UTF-8",
    SHELL: "/bin/sh",
  };
  for (const [name, value] of Object.entries(additions))
    if (!DANGEROUS.test(name) && name !== "PATH" && !value.includes("\0")) environment[name] = value;
  return environment;
}

/** Of an environment, what a hook with these `permissions.env` sees: PATH and Holdfast's own are always there. */
export function limitedEnvironment(
  environment: Readonly<Record<string, string>>,
  names: readonly string[] | true,
): Record<string, string> {
  const stays = (name: string) =>
    names === true || name === "PATH" || name.startsWith("HOLDFAST_") || names.includes(name);
  return Object.fromEntries(Object.entries(environment).filter(([name]) => stays(name)));
}
