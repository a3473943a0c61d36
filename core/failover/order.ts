/**
 * The order of scripts and of what surrounds them, one line for each transition.
 *
 * Names without a mark are hooks; those that a module does not have are skipped by the daemon. The virtual IP is up before the start
 * hook and down after the stop hook; the mount is there before both.
 */
import type { HookName } from "./types.ts";

/** A hook, or one of the core's own acts. */
export type Act =
  | HookName
  | "!serve"
  | "!serve together"
  | "!seal"
  | "!follow"
  | "!address up"
  | "!address down"
  | "!end stream";

/** What happens in each transition, in order. */
export const ORDER = {
  "STOP>WAIT": ["transition", "prestart"],
  "WAIT>STOP": ["poststop", "transition"],
  "WAIT>ALONE": ["transition", "!serve", "!address up", "start_both", "start_prim"],
  "WAIT>SECOND": ["transition", "!follow", "start_both", "start_second"],
  "WAIT>UP": ["transition", "!address up", "start_both"],
  "SECOND>ALONE": ["!seal", "stop_second", "transition", "!serve", "!address up", "start_prim"],
  "SECOND>PRIM": ["!seal", "stop_second", "transition", "!serve together", "!address up", "start_prim"],
  "PRIM>SECOND": ["stop_prim", "!address down", "!end stream"],
  "PRIM>SECOND then": ["transition", "start_second"],
  "ALONE>PRIM": ["transition"],
  "PRIM>ALONE": ["transition"],
  "ALONE>WAIT": ["stop_prim", "stop_both", "!address down", "!end stream"],
  "PRIM>WAIT": ["stop_prim", "stop_both", "!address down", "!end stream"],
  "SECOND>WAIT": ["stop_second", "stop_both", "!end stream"],
  "undone SECOND>WAIT": ["!seal", "stop_second", "stop_both", "!end stream"],
  "UP>WAIT": ["stop_both", "!address down"],
  "any>WAIT then": ["transition"],
  "fenced>WAIT then": ["transition", "prestart"],
  "restart ALONE": ["stop_prim", "stop_both", "start_both", "start_prim"],
  "restart PRIM": ["stop_prim", "stop_both", "start_both", "start_prim"],
  "restart SECOND": ["stop_second", "stop_both", "start_both", "start_second"],
  "restart UP": ["stop_both", "start_both"],
  "start again": ["!serve together", "!address up", "start_prim"],
} as const satisfies Record<string, readonly Act[]>;

/** A transition that has a line in the table. */
export type Transition = keyof typeof ORDER;
