/** The `Deno` namespace of scripts. */

/** Makes the namespace for a script and its arguments. */
export function denoNamespace(_file: string, args: readonly string[]): object {
  return { args: [...args], build: { os: process.platform } };
}
