/**
 * A farm's node that leaves again and again: for random lives, it is held back for longer and longer, never for ever, and forgiven in the end.
 */
import t from "tap";
import {
  afterLeaving,
  FREE_LEAVINGS,
  heldFor,
  type Leavings,
  NEVER_LEFT,
  WINDOW_MS,
} from "../../core/farm/patience.ts";

const START = 1_800_000_000_000;
const LONGEST = WINDOW_MS;

/** Leaves so often, each time `stays` ms after it was let in. Returns the pauses. */
function pauses(times: number, stays: (nth: number) => number): number[] {
  let leavings: Leavings = NEVER_LEFT;
  let now = START;
  return Array.from({ length: times }, (_, nth) => {
    now += stays(nth);
    leavings = afterLeaving(leavings, now);
    const pause = heldFor(leavings, now);
    now += pause;
    return pause;
  });
}

t.test("who leaves now and then is never held back", (t) => {
  t.same(new Set(pauses(100, () => WINDOW_MS / FREE_LEAVINGS + 1)), new Set([0]));
  t.same(
    pauses(FREE_LEAVINGS, () => 1),
    [0, 0, 0],
  );
  t.end();
});

t.test("who flaps is held back for twice as long each time, and for ten minutes at most", (t) => {
  let seed = 9;
  const draw = (): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
  for (let round = 0; round < 200; round++) {
    const all = pauses(20, () => draw() * 100_000);
    const held = all.slice(all.findIndex((pause) => pause > 0));
    t.ok(all.length - held.length >= FREE_LEAVINGS && held.length > 10);
    const wrong = held.filter((pause, nth) => pause !== Math.min(LONGEST, held[0]! * 2 ** nth));
    if (wrong.length > 0) t.fail(`round ${round}`, { all });
  }
  t.end();
});

t.test("who has stayed for a whole window is forgiven", (t) => {
  const stays = (nth: number): number => (nth === 8 ? WINDOW_MS + 1 : 1000);
  const all = pauses(13, stays);
  t.ok(all[7]! > all[4]!);
  t.same(all.slice(8, 8 + FREE_LEAVINGS), [0, 0, 0]);
  t.equal(all[8 + FREE_LEAVINGS], all[FREE_LEAVINGS], "and it begins anew");
  t.end();
});

t.test("a clock that is set holds nobody for longer", (t) => {
  const held = [1, 2, 3, 4].reduce((known, second) => afterLeaving(known, START + 1000 * second), NEVER_LEFT);
  t.ok(heldFor(held, START + 5000) > 0);
  t.equal(heldFor(held, START - 86_400_000), 0, "back by a day");
  t.equal(heldFor(held, START + 86_400_000), 0, "on by a day");
  t.equal(heldFor(afterLeaving(held, START - 86_400_000), START - 86_400_000), 0);
  t.end();
});
