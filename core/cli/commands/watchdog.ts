/** The options by which a daemon is told of the machine's hardware watchdog. */
import { parseDuration } from "../../../modules/units.ts";
import type { WatchdogWish } from "../../daemon/guardian/watchdog.ts";
import { CommandError, EXIT, type Invocation } from "../command.ts";

const SECONDS = 10;
const MOST_SECONDS = 600;

export const WATCHDOG_OPTIONS = {
  watchdog: {
    value: "DEVICE",
    help: "hardware watchdog that resets this machine when the guardian cannot stop what it must, such as /dev/watchdog (default: none)",
  },
  "watchdog-time": { value: "TIME", help: `after how long, in whole seconds (default ${SECONDS}s)` },
};

/** What the options ask for; null: no watchdog. Throws CommandError. */
export function watchdogOf({ values }: Pick<Invocation, "values">): WatchdogWish | null {
  const device = values["watchdog"];
  const text = values["watchdog-time"];
  if (device === undefined) {
    if (text === undefined) return null;
    throw new CommandError(EXIT.usage, "--watchdog-time: no watchdog is named (--watchdog DEVICE)");
  }
  if (!device.startsWith("/"))
    throw new CommandError(EXIT.usage, `--watchdog: ${device} is no absolute path`);
  const seconds = text === undefined ? SECONDS : secondsOf(text);
  return { device, seconds };
}

function secondsOf(text: string): number {
  let seconds: number;
  try {
    seconds = parseDuration(text) / 1000;
  } catch (error) {
    throw new CommandError(EXIT.usage, `--watchdog-time: ${(error as Error).message}`);
  }
  if (!Number.isInteger(seconds) || seconds < 2 || seconds > MOST_SECONDS)
    throw new CommandError(EXIT.usage, `--watchdog-time: ${text} is not 2 to ${MOST_SECONDS} whole seconds`);
  return seconds;
}

/** The same options as words of a command, checked. */
export function watchdogWords(invocation: Pick<Invocation, "values">): string[] {
  const wish = watchdogOf(invocation);
  return wish === null ? [] : ["--watchdog", wish.device, "--watchdog-time", `${wish.seconds}s`];
}
