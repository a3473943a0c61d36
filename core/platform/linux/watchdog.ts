/**
 * A hardware watchdog: a device that resets the machine unless it is told in time, again and again, that all is well.
 * See the kernel's Documentation/watchdog/watchdog-api.rst and include/uapi/linux/watchdog.h.
 */
import { fstatSync } from "node:fs";
import { O_NONBLOCK, O_WRONLY } from "./constants.ts";
import { check, errnoName, errnos } from "./errno.ts";
import { allocate, close, ioctl, open, writeFd } from "./libc.ts";

/** _IOWR('W', 6, int) and _IOR('W', 7, int): seconds. */
const WDIOC_SETTIMEOUT = 0xc0045706;
const WDIOC_GETTIMEOUT = 0x80045707;
/** "Magic close": what is written last, so that closing disarms it. */
const MAGIC = "V";
/** Anything else says that all is well. */
const WELL = ".";

/** See the top of the file. */
export class Watchdog {
  readonly #memory = allocate(4);

  private constructor(
    private readonly fd: number,
    /** After so long without a word it resets the machine, s; null: the device does not say. */
    readonly seconds: number | null,
  ) {}

  /**
   * Opens the device, which arms it, and asks for a time of at most so many seconds: it counts from here on. A device that does not let its time be set keeps
   * its own. A FIFO may stand in for one. Throws when the device is not there, has another owner, or is no device.
   */
  static open(device: string, seconds: number): Watchdog {
    const fd = check(
      open(device, O_WRONLY | O_NONBLOCK),
      `${device} cannot be opened: is the watchdog's driver loaded (such as softdog), and does nobody else have it (RuntimeWatchdogSec of systemd)?`,
    );
    const stat = fstatSync(fd);
    if (!stat.isCharacterDevice() && !stat.isFIFO()) {
      close(fd);
      throw new Error(`${device} is no device: nothing would reset this machine`);
    }
    return new Watchdog(fd, setTime(fd, seconds));
  }

  /** All is well. Throws when the device does not take it. */
  pet(): void {
    this.#write(WELL);
  }

  /** Disarms it. Where the kernel was built or told otherwise (`nowayout`) it goes on, and resets the machine. */
  close(): void {
    this.#write(MAGIC);
    close(this.fd);
  }

  #write(word: string): void {
    this.#memory.bytes[0] = word.charCodeAt(0);
    check(writeFd(this.fd, this.#memory.address, 1), "the watchdog takes no word");
  }
}

/** What it comes to, s; null where that is not known. */
function setTime(fd: number, seconds: number): number | null {
  const { address, view } = allocate(4);
  view.setInt32(0, seconds, true);
  const result = ioctl(fd, WDIOC_SETTIMEOUT, address);
  if (result >= 0) return view.getInt32(0, true);
  const isRefused = [errnos.EOPNOTSUPP, errnos.EINVAL, errnos.ENOTTY].some((errno) => result === -errno);
  if (!isRefused) throw new Error(`the watchdog does not take its time: ${errnoName(result)}`);
  return ioctl(fd, WDIOC_GETTIMEOUT, address) >= 0 ? view.getInt32(0, true) : null;
}
