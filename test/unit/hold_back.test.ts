/** Trap 9: a secondary that hangs again and again costs the application a time-out each time, unless it comes back later each time. */
import t from "tap";
import { HoldBack } from "../../core/filesystem/primary/hold_back.ts";

const TIMEOUT = 5000;
const HOUR = 3_600_000;

t.test("trap 9: a secondary that hangs whenever it is let in is kept out longer each time", async (t) => {
  const holdBack = new HoldBack(TIMEOUT);
  const waits: number[] = [];
  let now = 17 * HOUR;
  for (let hang = 0; hang < 12; hang++) {
    // It catches up, then the application waits for it until it is given up.
    now += 3000 + TIMEOUT;
    const wait = holdBack.hung(now);
    t.ok(holdBack.keepsOut(now + wait - 1, false));
    t.notOk(holdBack.keepsOut(now + wait, false));
    waits.push(wait);
    now += wait;
  }
  t.same(waits.slice(0, 5), [1000, 2000, 4000, 8000, 16_000]);
  t.same(waits.slice(-2), [300_000, 300_000], "but not for ever longer");
  t.notOk(holdBack.keepsOut(now - 300_000 + 2000, true), "nor when the application stands still without it");
  t.ok(holdBack.keepsOut(now - 300_000 + 1999, true));
});

t.test("a hang is forgotten after a long good time, not after a short one", async (t) => {
  const holdBack = new HoldBack(TIMEOUT);
  t.equal(holdBack.hung(HOUR), 1000);
  t.equal(holdBack.hung(HOUR + 1000 + 5 * 60_000), 2000);
  t.equal(holdBack.hung(2 * HOUR), 1000);
  t.notOk(new HoldBack(TIMEOUT).keepsOut(0, false), "who never hung is let in");
});
