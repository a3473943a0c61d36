/**
 * The daemon in the hands of the system's service manager.
 */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import {
  installService,
  isSystemd,
  systemctl,
  UNIT_FILE,
  uninstallService,
  unitText,
} from "../../platform/linux/systemd.ts";
import { compiled } from "../../platform/self.ts";
import { type Command, CommandError, EXIT } from "../command.ts";
import { loadedModules } from "../node.ts";

/** A new daemon answers within this time, ms; systemd starts one that dies again and again. */
const ANSWER_MS = 30_000;
const ASK_EVERY_MS = 50;

/** Throws CommandError where there is no systemd to talk to. */
function needSystemd(): void {
  if (!isSystemd())
    throw new CommandError(
      EXIT.failed,
      'this machine is not run by systemd: start "holdfast daemon" from its own service manager (holdfast service install --print shows what systemd would get)',
    );
}

/** A command typed next ("cluster create") must meet the daemon: one that is about to look at VAR would miss what is made there meanwhile. */
async function answers(varDir: string): Promise<void> {
  const patience = performance.now() + ANSWER_MS;
  while ((await loadedModules(varDir)) === null) {
    if (performance.now() > patience)
      throw new CommandError(
        EXIT.failed,
        `${UNIT_FILE} is installed, but the daemon does not answer; why: journalctl -u holdfast`,
      );
    await Bun.sleep(ASK_EVERY_MS);
  }
}

export const SERVICE_COMMANDS: readonly Command[] = [
  {
    name: "service install",
    summary: "Let systemd run the daemon, now and at every boot",
    options: { print: { help: "print the unit and change nothing" } },
    changes: `Writes ${UNIT_FILE}, enables and starts it. The binary must stay where it is.`,
    examples: ["holdfast service install", "holdfast service install --var /srv/holdfast"],
    run: async ({ varDir, flags, output }) => {
      const text = unitText(process.execPath, resolve(varDir));
      if (flags.has("print")) {
        output.say(text.trimEnd());
        output.give({ status: EXIT.done, unit: text });
        return EXIT.done;
      }
      needSystemd();
      if (!compiled)
        throw new CommandError(
          EXIT.failed,
          "only the binary can be installed as a service: npm run build, then dist/holdfast service install",
        );
      installService(process.execPath, resolve(varDir));
      await output.progress("waiting for the daemon", answers(varDir));
      const message = `holdfast.service runs, and starts with the machine (${UNIT_FILE}). Next: holdfast cluster create, or holdfast cluster join`;
      output.say(message);
      output.give({ status: EXIT.done, message });
      return EXIT.done;
    },
  },
  {
    name: "service uninstall",
    summary: "Take the daemon away from systemd",
    changes: `Stops this node's modules and the daemon, removes ${UNIT_FILE}. VAR stays.`,
    examples: ["holdfast service uninstall"],
    run: async ({ output }) => {
      needSystemd();
      if (!existsSync(UNIT_FILE))
        throw new CommandError(EXIT.usage, `${UNIT_FILE} is not there: the service is not installed`);
      await output.progress("stopping the modules and the daemon", Promise.resolve().then(uninstallService));
      const message = "the daemon is stopped and does not start with the machine any more";
      output.say(message);
      output.give({ status: EXIT.done, message });
      return EXIT.done;
    },
  },
  {
    name: "service status",
    summary: "Show what systemd knows of the daemon",
    changes: "Nothing.",
    examples: ["holdfast service status"],
    run: async ({ output }) => {
      needSystemd();
      const { status, output: text } = systemctl("status", "--no-pager", "holdfast.service");
      output.say(text);
      output.give({ status: status === 0 ? EXIT.done : EXIT.no, text });
      return status === 0 ? EXIT.done : EXIT.no;
    },
  },
];
