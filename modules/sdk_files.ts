/**
 * What editors need to know the SDK: its types in `.holdfast/`, and a deno.json and tsconfig.json that point there.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sdkTypes from "../hooks/sdk/types.txt" with { type: "text" };

/** Writes `.holdfast/` into a module directory: the types of this version's SDK. */
export function writeSdk(directory: string): void {
  mkdirSync(join(directory, ".holdfast"), { recursive: true });
  writeFileSync(join(directory, ".holdfast", "mod.ts"), sdkTypes);
}

const DENO_JSON = { imports: { holdfast: "./.holdfast/mod.ts" } };
// No `lib` here: with one, `deno check` loses the Deno namespace.
const TSCONFIG = {
  compilerOptions: {
    target: "ESNext",
    module: "ESNext",
    moduleResolution: "bundler",
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    allowImportingTsExtensions: true,
    paths: { holdfast: ["./.holdfast/mod.ts"] },
  },
};

/** As `writeSdk`, and adds deno.json and tsconfig.json where there is none. */
export function writeEditorFiles(directory: string): void {
  writeSdk(directory);
  for (const [name, content] of Object.entries({ "deno.json": DENO_JSON, "tsconfig.json": TSCONFIG }))
    if (!existsSync(join(directory, name)))
      writeFileSync(join(directory, name), `${JSON.stringify(content, null, 2)}\n`);
}
