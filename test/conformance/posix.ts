/**
 * What applications may expect of a directory: from the words of a manual page or the standard to a small function that throws when
 * they do not hold. A rule gets an empty directory. Rules are run on the bare file system too: one that fails there says nothing about ours.
 */
import { attributeRules } from "./posix_attributes.ts";
import type { Rules } from "./posix_calls.ts";
import { dataRules } from "./posix_data.ts";
import { linkRules } from "./posix_links.ts";
import { lockRules } from "./posix_locks.ts";
import { nameRules } from "./posix_names.ts";
import { openRules } from "./posix_open.ts";
import { permissionRules } from "./posix_permissions.ts";
import { spaceRules } from "./posix_space.ts";
import { timeRules } from "./posix_times.ts";
import { userRules } from "./posix_users.ts";

/** All of them. */
export const rules: Rules = {
  ...attributeRules,
  ...dataRules,
  ...linkRules,
  ...lockRules,
  ...nameRules,
  ...openRules,
  ...permissionRules,
  ...spaceRules,
  ...timeRules,
  ...userRules,
};
