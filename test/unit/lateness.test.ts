/** What a daemon says of a gap between its ticks. */
import t from "tap";
import { causeOf, Lateness } from "../../core/daemon/lateness.ts";

t.test("a gap is told when it is long, with its cause", async (t) => {
  const lateness = new Lateness(300);
  t.equal(lateness.tick(5000), null, "the first tick has no gap");
  t.equal(lateness.tick(5299), null);
  t.match(lateness.tick(6000), /did not run for 701 ms/);
  t.equal(lateness.tick(6020), null);
});

t.test("a processor that was long in coming is a cause, a short wait is none", async (t) => {
  t.match(causeOf(600, 550), /waited 550 ms for a processor/);
  t.match(causeOf(600, 20), /it was stopped/);
});
