/**
 * What keeps a script alive that waits: for the runtime, neither a signal's listener nor `AbortSignal.timeout` is a reason to go
 * on. A script whose own work is not done may be waiting for just that, so here they are, until it is done (as under Deno).
 */

type Timer = ReturnType<typeof setTimeout>;

const MESSAGE = "The operation was aborted due to timeout";
/** Longer than any script runs: the longest that a timer takes. */
const FOREVER_MS = 2 ** 31 - 1;

const held = new Set<Timer>();
let working = true;

/** The timer keeps the script alive while its work is not done. */
function hold(timer: Timer): Timer {
  if (working) held.add(timer);
  else timer.unref();
  return timer;
}

function release(timer: Timer): void {
  held.delete(timer);
  clearTimeout(timer);
}

/** The script's own work is done: it ends when nothing else is left. */
export function workIsDone(): void {
  working = false;
  for (const timer of held) timer.unref();
}

/** Something may come from outside; the function that it returns says that nobody waits for it any more. */
export function expectFromOutside(): () => void {
  const timer = hold(setTimeout(() => undefined, FOREVER_MS));
  return () => release(timer);
}

/** Puts an `AbortSignal.timeout` of this kind in the place of the runtime's. */
export function installTimeouts(): void {
  AbortSignal.timeout = (milliseconds: number): AbortSignal => {
    const controller = new AbortController();
    const timer = setTimeout(() => {
      held.delete(timer);
      controller.abort(new DOMException(MESSAGE, "TimeoutError"));
    }, milliseconds);
    hold(timer);
    return controller.signal;
  };
}
