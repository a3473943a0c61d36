/** The door of modules/history: a module's git repository, what goes in and out of it, and what a change means. */
export { BundleInvalid, readBundle, writeBundle } from "./bundle.ts";
export { diffFiles } from "./file_diff.ts";
export { type Merged, mergeIn } from "./merge.ts";
export { Bounds, type ModuleFiles, readFiles } from "./module_files.ts";
export { type Change, type Contents, needsStop, planChange } from "./plan.ts";
export {
  ACTIVE,
  type Commit,
  MAIN,
  Repository,
  type Revision,
  type Signature,
  TEMPLATE,
} from "./repository.ts";
export {
  HistoryMissing,
  layDown,
  type Prepared,
  prepareRevision,
  pruneRevisions,
  type Relation,
  relate,
  revisionDirectory,
} from "./revisions.ts";
export { fetchTemplate, isPlace } from "./template_source.ts";
export {
  bringTo,
  type Committed,
  commitDirectory,
  copyHistory,
  differences,
  noteApplied,
} from "./working_tree.ts";
