/**
 * The hardware watchdog in the guardian's hands: it resets the machine when the guardian itself does not run, or could not stop what it had to stop.
 */
import { join } from "node:path";
import { Watchdog } from "../../platform/linux/watchdog.ts";

/** What is asked for: which device, and within how many seconds it is to reset the machine. */
export interface WatchdogWish {
  device: string;
  seconds: number;
}

/** What came of it, for people. */
export interface WatchdogState {
  ok: boolean;
  detail: string;
}

/** Where the daemon of this node leaves the state, as JSON. */
export const watchdogFile = (varDir: string): string => join(varDir, "run", "watchdog.json");

/** Between two words at most, ms; and a quarter of the device's time. */
const LONGEST_PAUSE = 1000;

/** See the top of the file. */
export class GuardianWatchdog {
  #armed: { wish: WatchdogWish; watchdog: Watchdog; everyMs: number } | null = null;
  #toldAt = Number.NEGATIVE_INFINITY;

  /** `tell`: what went wrong later. */
  constructor(private readonly tell: (text: string) => void) {}

  /** Arms it, disarms it (null), or leaves it as it is. Never throws. */
  want(wish: WatchdogWish | null): WatchdogState {
    const current = this.#armed?.wish;
    if (current?.device !== wish?.device || current?.seconds !== wish?.seconds) {
      try {
        this.close();
        if (wish !== null) this.#arm(wish);
      } catch (error) {
        return { ok: false, detail: (error as Error).message };
      }
    }
    return { ok: true, detail: this.#words };
  }

  #arm(wish: WatchdogWish): void {
    const watchdog = Watchdog.open(wish.device, wish.seconds);
    const everyMs = Math.min(LONGEST_PAUSE, ((watchdog.seconds ?? 1) * 1000) / 4);
    this.#armed = { wish, watchdog, everyMs };
    this.#toldAt = Number.NEGATIVE_INFINITY;
    this.look(performance.now());
  }

  get #words(): string {
    if (this.#armed === null) return "none";
    const { wish, watchdog } = this.#armed;
    return watchdog.seconds === null
      ? `${wish.device} is armed, in its own time: it does not let it be set`
      : `${wish.device} is armed: it resets this machine ${watchdog.seconds} s after the guardian's last word`;
  }

  /** All is well, at this time (ms, monotonic): the device is told, if it is due. */
  look(now: number): void {
    if (this.#armed === null || now - this.#toldAt < this.#armed.everyMs) return;
    try {
      this.#armed.watchdog.pet();
    } catch (error) {
      this.tell((error as Error).message);
    }
    this.#toldAt = now;
  }

  /** Disarms it: nothing is left that it would guard. Throws when the device does not take the word. */
  close(): void {
    const armed = this.#armed;
    this.#armed = null;
    armed?.watchdog.close();
  }
}
