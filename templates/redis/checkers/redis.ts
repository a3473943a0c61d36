/**
 * Does the server answer a command? A port that accepts connections would not tell: a server that hangs has one too.
 */
import { defineChecker } from "holdfast";
import { answers } from "../lib/client.ts";

export default defineChecker(
  async ({ vars }) => (await answers(vars)) || { state: "down", detail: "no answer to PING" },
);
