/**
 * What applications may expect of a directory, one rule for each function. A rule gets an empty directory and throws when it
 * does not hold. Rules are run on the bare file system too: one that fails there says nothing about ours.
 */
export * from "./posix_attributes.ts";
export * from "./posix_data.ts";
export * from "./posix_names.ts";
export * from "./posix_permissions.ts";
