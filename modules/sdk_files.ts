/**
 * What makes a module open in an editor with types and without red lines, and its tests run under Deno: `.holdfast/` with the
 * SDK's source and the types of what hooks use, and a deno.json and tsconfig.json that point there.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { withResources } from "./resource_types.ts";
import { sdkSources, typeFiles, typesVersion } from "./type_files/type_files.ts";

export { sdkSources };

/** Which build's types lie in the folder: they are many, and are written only when they differ. */
const DIGEST = "digest";

async function writeTypes(folder: string): Promise<void> {
  const version = await typesVersion();
  const mark = join(folder, DIGEST);
  if (existsSync(mark) && readFileSync(mark, "utf8") === version) return;
  rmSync(folder, { recursive: true, force: true });
  for (const [path, text] of Object.entries(await typeFiles())) {
    // An editor has TypeScript's own libraries itself.
    if (path.startsWith("lib/")) continue;
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  writeFileSync(mark, version);
}

/** Writes this version's SDK (`sdkSources`) into `.holdfast/` of a module directory. */
export function writeSdkSources(directory: string, sources: Readonly<Record<string, string>>): void {
  const folder = join(directory, ".holdfast");
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(sources)) writeFileSync(join(folder, name), text);
}

/** As `writeSdkSources`, and adds the types of node: and of the Deno namespace, which an editor needs. */
export async function writeSdk(directory: string): Promise<void> {
  writeSdkSources(directory, withResources(await sdkSources(), directory));
  await writeTypes(join(directory, ".holdfast", "types"));
}

const DENO_JSON = {
  imports: { holdfast: "./.holdfast/mod.ts", "holdfast/testing": "./.holdfast/testing.ts" },
  // Deno has these types itself.
  exclude: [".holdfast/types"],
};
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
    typeRoots: ["./.holdfast/types"],
    types: ["node", "deno", "holdfast"],
    paths: { holdfast: ["./.holdfast/mod.ts"], "holdfast/testing": ["./.holdfast/testing.ts"] },
  },
};

/** As `writeSdk`, and adds deno.json and tsconfig.json where there is none. */
export async function writeEditorFiles(directory: string): Promise<void> {
  await writeSdk(directory);
  for (const [name, content] of Object.entries({ "deno.json": DENO_JSON, "tsconfig.json": TSCONFIG }))
    if (!existsSync(join(directory, name)))
      writeFileSync(join(directory, name), `${JSON.stringify(content, null, 2)}\n`);
}
