/** What a row of findings makes of a resource: thresholds, grace, and when to look next. */
import t from "tap";
import { begin, judge, looks, type Rhythm } from "../../core/checks/judgement.ts";

const RHYTHM: Rhythm = { interval: 1000, timeout: 500, failures: 1, successes: 1, grace: 0 };

/** States after each finding; one letter each: u up, d down, ? could not look. A look each second, from 0 on. */
function after(findings: string, more: Partial<Rhythm> = {}): string {
  const rhythm = { ...RHYTHM, ...more };
  let judgement = begin(rhythm, 0);
  const states = [...findings].map((finding, second) => {
    const state = finding === "u" ? "up" : finding === "d" ? "down" : "unknown";
    judgement = judge(rhythm, judgement, { state, detail: `${finding}${second}` }, second * 1000);
    return judgement.state;
  });
  return states.join(" ");
}

t.test("one failure is down, one success up", async (t) => {
  t.equal(after("uddu"), "up down down up");
  t.equal(after("d"), "down");
});

t.test("failures in a row, and only in a row", async (t) => {
  t.equal(after("uddud", { failures: 3 }), "up up up up up");
  t.equal(after("udddd", { failures: 3 }), "up up up down down");
  t.equal(after("ddd", { failures: 3 }), "init init down");
});

t.test("successes in a row once it was down; the first of all is enough from init", async (t) => {
  t.equal(after("uduudu", { successes: 2 }), "up down down up down down");
});

t.test("in the grace after a start failures do not count, until the first success", async (t) => {
  t.equal(after("dddd", { grace: 2500 }), "init init init down");
  t.equal(after("dud", { grace: 9000 }), "init up down");
  t.equal(after("ddddd", { grace: 2500, failures: 2 }), "init init init init down");
});

t.test("what could not look is unknown at once, and forgets what went before", async (t) => {
  t.equal(after("ud?dd", { failures: 2 }), "up up unknown unknown down");
  t.equal(after("?u"), "unknown up");
});

t.test("it looks at once, then an interval after it last began to", async (t) => {
  let judgement = begin(RHYTHM, 5000);
  t.equal(judgement.next, 5000);
  judgement = looks(RHYTHM, judgement, 5003);
  judgement = judge(RHYTHM, judgement, { state: "down", detail: "refused" }, 5400);
  t.match(judgement, { next: 6003, detail: "refused" });
  const patient = { ...RHYTHM, interval: 60_000, grace: 10_000 };
  judgement = judge(patient, looks(patient, begin(patient, 0), 0), { state: "down", detail: "" }, 20);
  t.match(judgement, { state: "init", next: 520 }, "soon again, as long as the grace lasts");
});
