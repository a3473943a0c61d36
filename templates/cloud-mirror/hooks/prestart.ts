/**
 * Before the module starts here: an address that was left by a crash is no longer this machine's own.
 */
import { defineHook } from "holdfast";
import { drop } from "../lib/move.ts";

export default defineHook(({ vars }) => drop(vars));
