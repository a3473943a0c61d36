/** Who is alive: silence in awake time, one-way networks, incarnations. */
import t from "tap";
import {
  createMembership,
  type Heard,
  type Membership,
  type MembershipEvent,
} from "../../core/membership/membership.ts";

const config = {
  node: "n1",
  incarnation: "me",
  peer: "n2",
  lans: ["lan", "repl"],
  interval: 200,
  timeout: 1000,
};
let sequence = 0;
const beat = (lan: string, more: Partial<Heard> = {}): Heard => ({
  lan,
  incarnation: "a",
  echo: "me",
  sequence: ++sequence,
  hears: ["lan", "repl"],
  ...more,
});
/** Ticks every `interval` from `from` until `to`, collecting events. */
function ticks(judge: Membership, from: number, to: number, interval = 100): MembershipEvent[] {
  const events: MembershipEvent[] = [];
  for (let now = from; now <= to; now += interval) events.push(...judge.tick(now));
  return events;
}
const isLost = (events: MembershipEvent[]) => events.some(({ type }) => type === "peerLost");

t.test("a silent peer is lost after the timeout and not before", async (t) => {
  const judge = createMembership(config);
  judge.tick(0);
  t.same(judge.heard(beat("lan")).events.at(-1), { type: "peerBack", incarnation: "a" });
  t.notOk(isLost(ticks(judge, 100, 1000)));
  const events = ticks(judge, 1100, 1300);
  t.ok(isLost(events));
  t.match(
    events.find(({ type }) => type === "peerLost"),
    { cause: /n2 .*lan, repl; last heard on lan/ },
  );
  t.same(judge.heard(beat("repl")).events.at(-1), { type: "peerBack", incarnation: "a" });
});

t.test("silence begins with the last word, not with the tick before it", async (t) => {
  const judge = createMembership(config);
  judge.tick(0);
  judge.heard(beat("lan", { at: 99 }));
  t.notOk(isLost(ticks(judge, 100, 1100)), "1001 ms of silence are less than the timeout and its doubt");
  t.ok(isLost(judge.tick(1200)));
  judge.heard(beat("lan", { at: 1200 }));
  judge.sign(0, 1299);
  t.notOk(isLost(ticks(judge, 1300, 2300)), "nor after a sign of the stream");
});

t.test("trap 16: a daemon that was stopped does not accuse its peer", async (t) => {
  const judge = createMembership(config);
  judge.tick(0);
  judge.heard(beat("lan"));
  for (let now = 0; now < 60_000; now += 5000) {
    // Stopped for almost 5 s each time; it gets one tick before its sockets are read.
    t.notOk(isLost(judge.tick(now)));
    judge.heard(beat("lan"));
  }
});

t.test("trap 16a: a stun of 500 ms on either side is no failure with a timeout of 1 s", async (t) => {
  const judge = createMembership(config);
  let now = 0;
  for (let round = 0; round < 50; round++) {
    // The peer is stopped: nothing for 700 ms (the stop, and the interval before it).
    t.notOk(isLost(ticks(judge, now, now + 700)));
    judge.heard(beat("lan"));
    // This node is stopped.
    now += 1200;
    t.notOk(isLost(judge.tick(now)));
    judge.heard(beat("repl"));
    now += 100;
  }
});

t.test("trap 17: each direction of each lan has its own state", async (t) => {
  const judge = createMembership(config);
  judge.tick(0);
  judge.heard(beat("lan"));
  judge.heard(beat("repl"));
  t.same(
    judge.resources().map(({ state }) => state),
    ["up", "up"],
  );
  const { events } = judge.heard(beat("lan", { hears: ["repl"] }));
  t.match(events, [{ type: "lan", lan: "lan", state: "one-way" }]);
  t.match(judge.resources()[0], { name: "heartbeat.lan", state: "down", detail: /does not hear n1/ });
  t.same(judge.hears(), ["lan", "repl"], "it is still heard");
  for (let now = 100; now < 2000; now += 100) {
    judge.heard(beat("lan", { hears: ["repl"] }));
    t.notOk(isLost(judge.tick(now)));
  }
  t.same(judge.hears(), ["lan"]);
});

t.test("trap 18: the replication link is a sign of life", async (t) => {
  const judge = createMembership(config);
  judge.tick(0);
  t.same(judge.sign(), [], "but not of a peer that was never met");
  judge.heard(beat("lan"));
  for (let now = 100; now < 5000; now += 100) {
    judge.sign();
    t.notOk(isLost(judge.tick(now)));
  }
  t.same(judge.hears(), []);
  judge.sign(500);
  t.notOk(isLost(ticks(judge, 5000, 5400)));
  t.ok(isLost(ticks(judge, 5500, 6200)), "a sign that is 500 ms old is worth 500 ms less");
});

t.test("a new incarnation replaces the old, whose datagrams count for nothing", async (t) => {
  const judge = createMembership(config);
  judge.tick(0);
  judge.heard(beat("lan", { sequence: 1000 }));
  const met = judge.heard(beat("lan", { incarnation: "b", sequence: 1 }));
  t.same(met.events, [{ type: "peerRestarted", incarnation: "b" }]);
  t.ok(met.fresh);
  t.notOk(judge.heard(beat("lan", { sequence: 1001 })).fresh);
  t.notOk(judge.heard(beat("lan", { incarnation: "b", sequence: 1 })).fresh, "repeated");
  t.ok(judge.heard(beat("repl", { incarnation: "b", sequence: 3 })).fresh);
  t.notOk(judge.heard(beat("lan", { incarnation: "b", sequence: 2 })).fresh, "overtaken");
  t.notOk(judge.heard(beat("other")).fresh, "a lan that is not ours");
});

t.test("a peer never heard is lost once, after twice the timeout", async (t) => {
  const judge = createMembership(config);
  t.notOk(isLost(ticks(judge, 0, 2000)));
  t.equal(judge.alive, null);
  t.ok(isLost(ticks(judge, 2100, 2400)));
  t.notOk(isLost(ticks(judge, 2500, 9000)));
});

t.test("a delayed datagram that was believed does not make the living start unheard for ever", async (t) => {
  const judge = createMembership(config);
  judge.tick(0);
  judge.heard(beat("lan", { incarnation: "living" }));
  // It was sent before that start, to this one: nothing tells that it is over.
  judge.heard(beat("lan", { incarnation: "dead" }));
  let comesBack = 0;
  for (let now = 100; now <= 4000 && comesBack === 0; now += 100) {
    judge.tick(now);
    judge.sign(0, now);
    if (judge.heard(beat("lan", { incarnation: "living", at: now })).fresh) comesBack = now;
  }
  t.ok(comesBack > config.timeout, "not before the other was silent for a timeout");
  t.equal(judge.last()?.incarnation, "living");
  t.notOk(judge.heard(beat("lan", { incarnation: "dead" })).fresh);
});

t.test("a delayed datagram of a start that is over does not replace the living one", async (t) => {
  const judge = createMembership(config);
  judge.tick(0);
  t.notOk(judge.heard(beat("lan", { incarnation: "dead", echo: null })).fresh);
  t.equal(judge.echo(), "dead", "the stranger is answered, so that it can prove that it lives");
  t.ok(judge.heard(beat("lan")).fresh);
  t.notOk(judge.heard(beat("lan", { incarnation: "dead", echo: "before" })).fresh);
  t.ok(judge.heard(beat("lan")).fresh, "the living one goes on");
});

t.test("trap 17: a peer that cannot hear us is believed after a timeout", async (t) => {
  const judge = createMembership(config);
  let fresh = false;
  for (let now = 0; now <= 1200; now += 100) {
    judge.tick(now);
    fresh = judge.heard(beat("lan", { echo: null, hears: [] })).fresh;
    if (now < 1000) t.notOk(fresh);
  }
  t.ok(fresh);
  t.match(judge.resources()[0], { state: "down", detail: /does not hear n1/ });
});
