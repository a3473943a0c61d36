import t from "tap";
import { FlappingBackOff, SendWindow, SyncTickets } from "../../core/replication/window.ts";

t.test("trap 9: the time limit is on acknowledgements, and the queue has bounds", async (t) => {
  const window = new SendWindow({ bytes: 1000, ageMs: 100, timeoutMs: 5000 });
  t.equal(window.send(400, 0), 1);
  t.equal(window.send(400, 10), 2);
  t.ok(window.hasRoom(200, 50));
  t.notOk(window.hasRoom(201, 50), "full by bytes");
  t.notOk(window.hasRoom(1, 101), "full by age");
  t.ok(window.acknowledge(0, 2), "in hands is not applied");
  t.ok(window.isInHands(2));
  t.ok(window.isOverdue(5001), "the peer's kernel answers, its applier hangs");
  t.ok(window.acknowledge(1, 2));
  t.equal(window.queuedBytes, 400);
  t.notOk(window.isOverdue(5001));
  t.ok(window.isOverdue(5011));
  t.notOk(window.acknowledge(3, 3), "what was never sent");
  t.notOk(window.acknowledge(2, 1), "applied before it arrived");
  window.release();
  t.ok(window.isApplied(2));
  t.notOk(window.isOverdue(1e9), "nobody waits any more");
  t.ok(window.hasRoom(1000, 1e9));
});

t.test("a full ring of unapplied frames stops the source", async (t) => {
  const window = new SendWindow({ bytes: 1e12, ageMs: 1e12, timeoutMs: 1e12 });
  let sent = 0;
  while (window.hasRoom(1, 0)) sent = window.send(1, 0);
  t.ok(sent > 60_000 && sent < 70_000);
  window.acknowledge(sent, sent);
  t.equal(window.queuedBytes, 0);
  t.ok(window.hasRoom(1, 0));
});

t.test("a ticket never settles with stale news", async (t) => {
  const tickets = new SyncTickets();
  t.ok(tickets.isSettled(tickets.take(0)), "alone: nobody to wait for");
  const first = tickets.connected();
  tickets.together();
  const ticket = tickets.take(100);
  t.notOk(tickets.isSettled(ticket));
  const second = tickets.connected();
  t.notOk(tickets.settle(ticket, first), "a word from the connection before");
  t.notOk(tickets.isSettled(ticket));
  t.same([...tickets.waiting()], [ticket], "to be asked again");
  t.ok(tickets.isOverdue(5101, 5000));
  t.notOk(tickets.settle(ticket + 7, second), "a ticket that was never taken");
  t.ok(tickets.settle(ticket, second));
  const other = tickets.take(0);
  tickets.alone();
  t.ok(tickets.isSettled(other), "durably alone");
});

t.test("trap 9: a flapping peer is tried less and less often, until it was good for long", async (t) => {
  const backOff = new FlappingBackOff(500, 4000, 60_000);
  t.same(
    [0, 1, 2, 3, 4].map((at) => backOff.lost(at)),
    [500, 1000, 2000, 4000, 4000],
  );
  backOff.inSync(10_000);
  t.equal(backOff.lost(20_000), 4000, "good for ten seconds only");
  backOff.inSync(30_000);
  backOff.inSync(80_000);
  t.equal(backOff.lost(91_000), 500);
});
