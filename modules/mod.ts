/** The front door of modules/: what a module is, how it is read, checked, packed and unpacked. It loads all of that: who needs less takes the file that has it. */

export { type CheckReport, checkModule, examineModule } from "./check.ts";
export type { ClusterNames } from "./cross_checks.ts";
export { HOOK_NAMES, type HookFile, type ModuleHook } from "./hook_files.ts";
export { loadModule, type ModuleDefinition, ModuleInvalid, moduleNameProblem, readModule } from "./load.ts";
export { type MirrorConfig, type ModuleConfig, moduleJsonSchema, moduleSchema } from "./schema.ts";
export { writeEditorFiles, writeSdk } from "./sdk_files.ts";
export { typeProblems } from "./type_check.ts";
export { formatProblem, type Problem } from "./yaml_document.ts";
