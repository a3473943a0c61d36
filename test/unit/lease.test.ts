/** A lease ends by itself, and waking up does not bring it back. */
import t from "tap";
import { Lease } from "../../core/daemon/module/lease.ts";
import { ModuleRight } from "../../core/daemon/module/right.ts";
import type { Supervisor } from "../../core/daemon/module/supervisor.ts";

t.test("it is held as long as it is renewed, and not again after it has ended", async (t) => {
  let now = 5000;
  let timeoutMs = 1000;
  const lease = new Lease(
    () => timeoutMs,
    () => now,
  );
  t.notOk(lease.isHeld, "before it was granted");
  t.notOk(lease.renew());
  lease.follow(true);
  for (let n = 0; n < 5; n++) {
    now += 790;
    t.ok(lease.isHeld);
    t.ok(lease.renew());
  }
  now += 810;
  t.notOk(lease.isHeld, "0.8 T without a word");
  t.notOk(lease.renew(), "too late");
  lease.follow(true);
  t.notOk(lease.isHeld, "the role was never given up meanwhile: nothing was decided anew");
  lease.follow(false);
  lease.follow(true);
  t.ok(lease.isHeld, "taken anew");
  now += 500;
  timeoutMs = 600;
  t.notOk(lease.isHeld, "a shorter timeout counts at once");
  timeoutMs = 1000;
  lease.follow(false);
  t.notOk(lease.isHeld, "given up");
});

t.test("a right that lapsed is told of once, whoever slept, and not where there is none", async (t) => {
  const told = { state: "WAIT", readiness: "Ready", upToDate: true, reason: "", since: "" };
  const supervisor = { status: () => told as ReturnType<Supervisor["status"]>, rightUntil: null };
  let timeoutMs = 10_000;
  const right = new ModuleRight("db", supervisor, { settled: () => {}, disarm: () => {} }, () => timeoutMs);
  right.follow();
  t.equal(right.lapses(), false, "nothing is served");
  told.state = "PRIM";
  right.follow();
  t.equal(right.lapses(), false);
  timeoutMs = 0;
  await Bun.sleep(5);
  t.same([right.lapses(), right.lapses()], [true, false]);
  timeoutMs = 10_000;
  told.state = "WAIT";
  right.follow();
  told.state = "ALONE";
  right.follow();
  t.equal(right.lapses(), false, "taken anew");
  timeoutMs = 0;
  await Bun.sleep(5);
  t.equal(right.lapses(), true);
});

t.test("a right that has ended is over at once, before anything has come of that", async (t) => {
  const told = { state: "PRIM", readiness: "Ready", upToDate: true, reason: "", since: "" } as const;
  const supervisor = { status: () => told, rightUntil: null as number | null };
  const right = new ModuleRight("db", supervisor, { settled: () => {}, disarm: () => {} }, () => 10_000);
  right.follow();
  t.equal(right.serves, true);
  supervisor.rightUntil = performance.now() + 60_000;
  t.equal(right.serves, true);
  supervisor.rightUntil = performance.now();
  t.equal(right.serves, false, "a load balancer that asks now is told no");
});
