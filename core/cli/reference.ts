/**
 * Writes docs/commands.md from the command table: `bun core/cli/reference.ts`.
 */
import { referencePage } from "./help.ts";
import { COMMANDS } from "./table.ts";

await Bun.write(new URL("../../docs/commands.md", import.meta.url), referencePage(COMMANDS));
