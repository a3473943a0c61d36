/**
 * Commands about the program itself.
 */
import packageFile from "../../../package.json" with { type: "json" };
import { type Command, EXIT } from "../command.ts";
import { completionScript, SHELLS, type Shell } from "../completion.ts";

/** See the top of the file. */
export const ABOUT_COMMANDS: readonly Command[] = [
  {
    name: "completion",
    summary: "Print the completion script of a shell",
    arguments: [{ name: "SHELL", help: "bash, zsh or fish", choices: SHELLS }],
    changes: "Nothing.",
    examples: [
      "holdfast completion bash > /etc/bash_completion.d/holdfast",
      "holdfast completion fish > ~/.config/fish/completions/holdfast.fish",
    ],
    run: ({ arguments: { SHELL }, output }) => {
      const script = completionScript(SHELL as Shell);
      output.say(script);
      output.give({ shell: SHELL, script });
      return EXIT.done;
    },
  },
  {
    name: "version",
    summary: "Print the version (also: holdfast --version)",
    changes: "Nothing.",
    examples: ["holdfast --version"],
    run: ({ output }) => {
      output.say(`holdfast ${packageFile.version} (Bun ${Bun.version}, ${process.platform}-${process.arch})`);
      output.give({
        version: packageFile.version,
        bun: Bun.version,
        platform: process.platform,
        architecture: process.arch,
      });
      return EXIT.done;
    },
  },
];
