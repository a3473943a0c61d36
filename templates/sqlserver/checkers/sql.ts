/**
 * Does the server answer a query? A port that accepts connections would not tell: a server that hangs has one too.
 */
import { defineChecker } from "holdfast";
import { ask } from "../lib/sqlcmd.ts";

export default defineChecker(async ({ vars }) => (await ask(vars, "select 1")) === "1");
