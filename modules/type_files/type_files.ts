/**
 * The types and the compiler that the build has packed (make.ts): read when they are asked for, and not before, for every
 * hook that starts is the same program.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

type Compiler = typeof import("typescript");

/** Path to text: `lib/` are TypeScript's own libraries, `node/` and `deno/` are packages of types. */
export type TypeFiles = Readonly<Record<string, string>>;

let types: TypeFiles | null = null;
let compiler: Compiler | null = null;

function unpacked(packed: Uint8Array<ArrayBuffer>): string {
  return new TextDecoder().decode(Bun.zstdDecompressSync(packed));
}

/** The SDK as source files for `.holdfast/`: name to text. */
export async function sdkSources(): Promise<Readonly<Record<string, string>>> {
  const { default: file } = await import("../../dist/sdk.json.zst", { with: { type: "file" } });
  return JSON.parse(unpacked(readFileSync(file))) as Record<string, string>;
}

async function packedTypes(): Promise<Uint8Array<ArrayBuffer>> {
  const { default: file } = await import("../../dist/types.json.zst", { with: { type: "file" } });
  return readFileSync(file);
}

/** Tells this build's types from another's, without unpacking them. */
export async function typesVersion(): Promise<string> {
  return Bun.hash(await packedTypes()).toString(16);
}

/** The types. */
export async function typeFiles(): Promise<TypeFiles> {
  types ??= JSON.parse(unpacked(await packedTypes())) as TypeFiles;
  return types;
}

/** TypeScript itself. */
export async function typeScript(): Promise<Compiler> {
  if (compiler) return compiler;
  const { default: file } = await import("../../dist/typescript.js.zst", { with: { type: "file" } });
  const text = unpacked(readFileSync(file));
  const module: { exports: unknown } = { exports: {} };
  // It is a CommonJS module, and lies packed in the binary, where no loader finds it.
  const run = new Function("module", "exports", "require", "__filename", "__dirname", text);
  run(module, module.exports, createRequire("/"), "/typescript.js", "/");
  compiler = module.exports as Compiler;
  return compiler;
}
