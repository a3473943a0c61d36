/**
 * Does a service of the machine still run? systemd is asked; the death of its main process is noticed at once, and not at the next look.
 */
import { watchDeath } from "../../platform/linux/process_death.ts";
import { stateOf } from "../../services/units.ts";
import { down, type Probe, unknown, up, words } from "../probe.ts";

/** See the top of the file. `notice`: look again, now. `ask`: systemd, but in tests. */
export function serviceProbe(name: string, notice: () => void, ask = stateOf): Probe {
  let watched = 0;
  let stop: (() => void) | null = null;
  const forget = (): void => {
    stop?.();
    stop = null;
    watched = 0;
  };
  return {
    look: async (signal) => {
      let state: Awaited<ReturnType<typeof stateOf>>;
      try {
        state = await ask(name, signal);
      } catch (error) {
        // While it is itself started anew, or its units are read again: that says nothing of a process that lives, and starting one again by it would fail.
        if (stop !== null) return unknown(words(error));
        throw error;
      }
      if (state === null) return unknown("there is no systemd here");
      const { activeState, mainPid } = state;
      if (mainPid !== watched) forget();
      if (activeState !== "active" && activeState !== "reloading") return down(`${name} is ${activeState}`);
      // A unit without a main process is up as long as systemd says so: it stands for others, or for what was done once.
      if (mainPid === 0) return up();
      if (stop === null) {
        watched = mainPid;
        stop = watchDeath(mainPid, () => {
          forget();
          notice();
        });
      }
      return stop === null
        ? down(`the main process of ${name} (pid ${mainPid}) ended`)
        : up(`pid ${mainPid}`);
    },
    close: forget,
  };
}
