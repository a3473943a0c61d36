/**
 * The daemon, or a witness, in the hands of the system's service manager.
 */
import { existsSync, mkdirSync } from "node:fs";
import { resolve } from "node:path";
import {
  DAEMON_UNIT,
  installService,
  isSystemd,
  systemctl,
  uninstallService,
  unitFile,
  unitText,
  WITNESS_UNIT,
  witnessUnitText,
} from "../../platform/linux/systemd.ts";
import { compiled } from "../../platform/self.ts";
import { type Command, CommandError, EXIT, type Invocation } from "../command.ts";
import { loadedModules } from "../node.ts";
import { WATCHDOG_OPTIONS, watchdogWords } from "./watchdog.ts";
import { PLACE_OPTIONS, placeWords } from "./witness.ts";

/** A new daemon answers within this time, ms; systemd starts one that dies again and again. */
const ANSWER_MS = 30_000;
const ASK_EVERY_MS = 50;

const WITNESS = { help: "the witness that this machine is for other clusters, not the daemon" };
const unitOf = ({ flags }: Invocation): string => (flags.has("witness") ? WITNESS_UNIT : DAEMON_UNIT);

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
        `${unitFile(DAEMON_UNIT)} is installed, but the daemon does not answer; why: journalctl -u holdfast`,
      );
    await Bun.sleep(ASK_EVERY_MS);
  }
}

/** Options of the one that are given for the other would be ignored. */
function refuseOthers({ flags, values, lists }: Invocation): void {
  const isWitness = flags.has("witness");
  const others = Object.keys(isWitness ? WATCHDOG_OPTIONS : PLACE_OPTIONS);
  const given = others.find((name) => values[name] !== undefined || lists[name] !== undefined);
  if (given !== undefined)
    throw new CommandError(
      EXIT.usage,
      `--${given} is of the ${isWitness ? "daemon" : "witness (--witness)"}`,
    );
}

function textOf(invocation: Invocation): string {
  refuseOthers(invocation);
  const varDir = resolve(invocation.varDir);
  if (invocation.flags.has("witness"))
    return witnessUnitText(process.execPath, varDir, placeWords(invocation));
  return unitText(process.execPath, varDir, watchdogWords(invocation));
}

/** See the top of the file. */
export const SERVICE_COMMANDS: readonly Command[] = [
  {
    name: "service install",
    summary: "Let systemd run the daemon (or a witness), now and at every boot",
    options: {
      print: { help: "print the unit and change nothing" },
      ...WATCHDOG_OPTIONS,
      witness: WITNESS,
      ...PLACE_OPTIONS,
    },
    changes: `Writes ${unitFile(DAEMON_UNIT)}, or ${WITNESS_UNIT} there, enables and starts it. The binary must stay where it is.`,
    examples: [
      "holdfast service install",
      "holdfast service install --var /srv/holdfast",
      "holdfast service install --witness --address 10.0.0.9",
    ],
    run: async (invocation) => {
      const { varDir, flags, output } = invocation;
      const text = textOf(invocation);
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
      const unit = unitOf(invocation);
      // What the unit may write to must be there.
      mkdirSync(resolve(varDir), { recursive: true, mode: 0o700 });
      installService(unit, text);
      if (unit === DAEMON_UNIT) await output.progress("waiting for the daemon", answers(varDir));
      const next =
        unit === DAEMON_UNIT
          ? "holdfast cluster create, or holdfast cluster join"
          : "holdfast witness token, with the same --var, --address and --port";
      const message = `${unit} runs, and starts with the machine (${unitFile(unit)}). Next: ${next}`;
      output.say(message);
      output.give({ status: EXIT.done, message });
      return EXIT.done;
    },
  },
  {
    name: "service uninstall",
    summary: "Take the daemon (or a witness) away from systemd",
    options: { witness: WITNESS },
    changes: `Stops this node's modules and the daemon, removes ${unitFile(DAEMON_UNIT)}. VAR stays.`,
    examples: ["holdfast service uninstall", "holdfast service uninstall --witness"],
    run: async (invocation) => {
      const { output } = invocation;
      const unit = unitOf(invocation);
      needSystemd();
      if (!existsSync(unitFile(unit)))
        throw new CommandError(EXIT.usage, `${unitFile(unit)} is not there: the service is not installed`);
      const isDaemon = unit === DAEMON_UNIT;
      const what = isDaemon ? "stopping the modules and the daemon" : "stopping the witness";
      await output.progress(
        what,
        Promise.resolve().then(() => uninstallService(unit)),
      );
      const message = `the ${isDaemon ? "daemon" : "witness"} is stopped and does not start with the machine any more`;
      output.say(message);
      output.give({ status: EXIT.done, message });
      return EXIT.done;
    },
  },
  {
    name: "service status",
    summary: "Show what systemd knows of the daemon (or a witness)",
    options: { witness: WITNESS },
    changes: "Nothing.",
    examples: ["holdfast service status"],
    run: async (invocation) => {
      const { output } = invocation;
      needSystemd();
      const { status, output: text } = systemctl("status", "--no-pager", unitOf(invocation));
      output.say(text);
      output.give({ status: status === 0 ? EXIT.done : EXIT.no, text });
      return status === 0 ? EXIT.done : EXIT.no;
    },
  },
];
