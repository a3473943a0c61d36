/** Rules: which checks look when, what each action does, maxLoop, and the `wait` that is not obeyed since nobody would serve. */
import t from "tap";
import { parseCondition } from "../../core/checks/condition_text.ts";
import type { CheckWhen, OtherNode, Rule, RuleAction, Watched } from "../../core/failover/types.ts";
import { Driver, primary, recordOf, secondary, secondView, viewOf } from "./failover_driver.ts";

const rule = (name: string, condition: string, action: RuleAction): Rule => ({
  name,
  words: condition,
  if: parseCondition(condition),
  // biome-ignore lint/suspicious/noThenProperty: the contract's own word for what a rule does.
  then: action,
});

const CHECKS: Record<string, CheckWhen> = {
  "tcp.db": "prim",
  "ping.gateway": "pre",
  "custom.copy": "second",
};
const watched = (...rules: Rule[]): { watched: Watched } => ({ watched: { checks: CHECKS, rules } });
const RESTART = rule("t_db", "tcp.db == down", "restart");
const WAIT = rule("p_gateway", "ping.gateway == down", "wait");

t.test(
  "checks look as the module goes: before a start, on PRIM, not while it is started again",
  async (t) => {
    const n1 = new Driver({ ...watched(RESTART, WAIT) });
    n1.hold = /^(prestart|start_prim|stop_prim)$/;
    n1.boot(recordOf({ role: "ALONE" }));
    n1.lost();
    t.equal(n1.scope, "none", "while prestart runs");
    n1.release();
    t.equal(n1.scope, "pre", "in WAIT");
    t.match(n1.told, {
      state: "WAIT",
      readiness: "Transient",
      reason: "waits for the first word of ping.gateway",
    });
    n1.resource("ping.gateway", "up");
    t.match([n1.told.state, n1.scope], ["ALONE", "pre"], "while start_prim runs");
    n1.release();
    t.equal(n1.scope, "prim");
    n1.resource("tcp.db", "up").resource("tcp.db", "down", "connection refused");
    t.match([n1.since().at(-1), n1.scope], ["stop_prim", "pre"], "while it is started again");
    t.equal(n1.told.reason.split(" (runs")[0], "restarted: tcp.db == down: connection refused (rule t_db)");
    n1.resource("tcp.db", "down", "a look of before");
    n1.hold = null;
    n1.release();
    t.match([n1.scope, n1.state.resources["tcp.db"]], ["prim", "init"]);
    t.same(
      n1.since(),
      ["stop_both", "start_both", "start_prim"],
      "what the last look found does not count twice",
    );
    n1.command({ name: "stop" });
    t.equal(n1.scope, "none");
  },
);

t.test("a rule acts once for each time that it comes to hold", async (t) => {
  const n1 = primary(watched(rule("lan", "heartbeat.lan == down", "restart")));
  n1.resource("heartbeat.lan", "down");
  t.same(restarts(n1), 1);
  n1.resource("heartbeat.repl", "down").timer("anything");
  t.same(restarts(n1), 0, "it holds still");
  n1.resource("heartbeat.lan", "up").resource("heartbeat.lan", "down");
  t.same(restarts(n1), 1);
});

t.test("the fourth failure stops the module; a person begins the count anew", async (t) => {
  const n1 = primary(watched(RESTART));
  for (const time of [1, 2, 3]) {
    n1.why = "";
    n1.resource("tcp.db", "down");
    t.same([restarts(n1), n1.told.state], [1, "PRIM"], `failure ${time}`);
    t.match(n1.why, "restarted: tcp.db == down (rule t_db)", "and each time it is said why");
  }
  n1.resource("tcp.db", "down", "connection refused");
  t.match(n1.told, {
    state: "STOP",
    remedy: "holdfast start db",
    reason:
      "stopped by maxLoop: tcp.db == down: connection refused (rule t_db) asked for restart once more than allowed",
  });
  t.equal(n1.state.record.loops.length, 3);
  n1.command({ name: "start" });
  t.equal(n1.state.record.loops.length, 0);
  t.not(n1.told.state, "STOP");
});

t.test("stopstart hands over, stop stays down", async (t) => {
  const n1 = primary(watched(rule("again", "tcp.db == down", "stopstart")));
  n1.since();
  n1.resource("tcp.db", "down");
  t.ok(n1.since().includes("prestart"), "it starts again");
  t.equal(n1.told.state, "WAIT", "and leaves the role to its peer");
  const n2 = primary(watched(rule("down", "tcp.db == down", "stop")));
  n2.resource("tcp.db", "down");
  t.match(n2.told, { state: "STOP", reason: /stopped: tcp\.db == down \(rule down\)/ });
  t.same(n2.state.record.loops, [], "a stop is no loop");
});

t.test("swap exchanges the roles as soon as the peer can take over", async (t) => {
  const swap = rule("no_gateway", "ping.gateway == down && remote.ping.gateway == up", "swap");
  const n1 = primary(watched(swap));
  n1.resource("ping.gateway", "down");
  t.equal(n1.told.state, "PRIM", "the peer has not said that it is better off");
  n1.peer({ ...secondView(), resources: { "ping.gateway": "up" } });
  t.equal(n1.told.state, "SECOND");
  t.equal(n1.state.swap?.phase, "drained");
});

t.test(
  "what a rule asks for and cannot be done is said aloud once, and done as soon as it can be",
  async (t) => {
    const swap = rule("no_gateway", "ping.gateway == down", "swap");
    const other = rule("p_other", "ping.gateway == down", "wait");
    const n1 = primary(watched(swap, WAIT, other));
    n1.peer(
      secondView({ readiness: "Transient", record: recordOf({ role: "SECOND", consistency: "outdated" }) }),
    );
    n1.resource("ping.gateway", "down").timer("anything").timer("anything");
    t.match(n1.shouts, [/^NOT waiting, though ping\.gateway == down \(rule p_gateway\): n2 is SECOND/]);
    t.equal(n1.shouts.length, 1, "two that are held do not take turns");

    const n2 = primary(watched(swap));
    n2.lost().resource("ping.gateway", "down").timer("anything");
    t.same(n2.shouts, ["NOT swapping, though ping.gateway == down (rule no_gateway): n2 is silent"]);
    t.match(n2.told.reason, /NOT swapping/);
    n2.resource("ping.gateway", "up");
    t.notMatch(n2.told.reason, /NOT swapping/);

    const n3 = secondary(watched(swap));
    n3.resource("ping.gateway", "down");
    t.same(n3.shouts, [], "a secondary has no role to give");
  },
);

t.test("a rule does not act on what is not known yet", async (t) => {
  const n1 = primary(watched(rule("db", "tcp.db != up", "restart")));
  n1.since();
  n1.resource("tcp.db", "init");
  t.equal(restarts(n1), 0);
  n1.resource("tcp.db", "up").resource("tcp.db", "unknown");
  t.equal(restarts(n1), 1);
});

t.test("what ends a wait, and what keeps a node from starting, has a name as other rules have", async (t) => {
  const n1 = new Driver({ kind: "light", peer: null, replicated: false, ...watched(WAIT) });
  n1.boot(recordOf()).resource("ping.gateway", "down");
  n1.why = "";
  n1.resource("ping.gateway", "up");
  t.match(n1.why, "p_gateway asks no more to wait (rule implicit_wakeup)");

  const n2 = new Driver();
  n2.boot(recordOf({ role: "SECOND", consistency: "outdated" })).lost();
  t.match(n2.told, {
    state: "WAIT",
    reason: "n2 is silent, and this copy is outdated (rule notuptodate_server)",
  });
});

t.test("a wait is obeyed where the peer is better off, and only there", async (t) => {
  const well = { resources: { "ping.gateway": "up" } };
  const n1 = primary(watched(WAIT));
  n1.peer({ ...secondView(), ...well }).resource("ping.gateway", "down", "no answer");
  t.match(n1.told, {
    state: "WAIT",
    readiness: "NotReady",
    reason: "waits: ping.gateway == down: no answer (rule p_gateway)",
  });
  n1.peer(viewOf("ALONE", recordOf(), well));
  t.equal(n1.told.state, "WAIT", "as long as that lasts");
  n1.resource("ping.gateway", "up");
  t.equal(n1.told.state, "SECOND", "then it follows");
});

t.test("a target that is down for everybody stops nobody, and is said aloud", async (t) => {
  const n1 = primary(watched(WAIT));
  n1.peer({ ...secondView(), resources: { "ping.gateway": "down" } }).resource("ping.gateway", "down");
  t.equal(n1.told.state, "PRIM");
  t.same(n1.shouts, ["NOT waiting, though ping.gateway == down (rule p_gateway): n2 has the same trouble"]);
  t.match(n1.told.reason, /NOT waiting/);
  n1.resource("ping.gateway", "up");
  t.notMatch(n1.told.reason, /NOT waiting/);

  const alone = new Driver({ ...watched(WAIT) });
  alone.boot(recordOf({ role: "ALONE" })).lost();
  alone.resource("ping.gateway", "down");
  t.match([alone.told.state, alone.shouts.at(-1)], ["ALONE", /n2 is silent/], "started all the same");
});

t.test("a secondary in trouble leaves, while its primary serves", async (t) => {
  const n1 = secondary(watched(WAIT));
  const prim = n1.state.peer!;
  n1.peer({ ...prim, resources: { "ping.gateway": "up" } }).resource("ping.gateway", "down");
  t.equal(n1.told.state, "WAIT");
  t.same(n1.state.record.loops, [], "that is no loop");
});

t.test("beside a peer that waits, the other starts though the election would prefer the first", async (t) => {
  const record = recordOf({ role: "SECOND" });
  const n1 = new Driver(watched(WAIT));
  n1.boot(record).resource("ping.gateway", "up");
  const other = { ...record, role: "PRIM" as const };
  n1.peer(viewOf("WAIT", other, { resources: { "ping.gateway": "init" } }));
  t.match(n1.told.reason, /n2 starts first/);
  n1.peer(viewOf("WAIT", other, { resources: { "ping.gateway": "down" } }));
  t.match(n1.told.reason, /asks n2 to record that this node goes first/);
});

t.test("a module without a peer waits before its start, and is not stopped once it runs", async (t) => {
  const n1 = new Driver({ kind: "light", peer: null, replicated: false, ...watched(WAIT) });
  n1.boot(recordOf());
  n1.resource("ping.gateway", "down");
  t.match(n1.told, { state: "WAIT", readiness: "NotReady", reason: /waits: ping\.gateway == down/ });
  n1.resource("ping.gateway", "up");
  t.equal(n1.told.state, "UP");
  n1.resource("ping.gateway", "down");
  t.match([n1.told.state, n1.shouts.at(-1)], ["UP", /no other node would serve/]);
});

t.test("a wait that asks about all of a class has the first word of each waited for", async (t) => {
  const checks: Watched["checks"] = { "ping.first": "pre", "ping.second": "pre" };
  for (const asked of ["ping.* == down", "ping.? == down"]) {
    const rules = [rule("no_way_out", asked, "wait")];
    const n1 = new Driver({ kind: "light", peer: null, replicated: false, watched: { checks, rules } });
    n1.boot(recordOf());
    t.match(n1.told, { state: "WAIT", reason: "waits for the first word of ping.first, ping.second" }, asked);
    n1.resource("ping.first", "down").resource("ping.second", "down");
    t.match(n1.told, { state: "WAIT", reason: `waits: ${asked} (rule no_way_out)` });
    n1.resource("ping.first", "up").resource("ping.second", "up");
    t.equal(n1.told.state, "UP");
  }
});

t.test("a farm's node waits while another serves, and never the last of them", async (t) => {
  const n1 = new Driver({ kind: "farm", peer: null, replicated: false, virtualIp: false, ...watched(WAIT) });
  const hears = (...others: OtherNode[]): void => {
    n1.state = { ...n1.state, config: { ...n1.state.config, others } };
    n1.timer("reconfigured");
  };
  const other = (state: OtherNode["state"], gateway: string): OtherNode => ({
    state,
    readiness: state === "UP" ? "Ready" : "NotReady",
    resources: { "ping.gateway": gateway },
  });
  n1.boot(recordOf()).resource("ping.gateway", "down", "no answer");
  t.match(
    n1.told,
    { state: "WAIT", reason: /^waits: ping\.gateway == down/ },
    "the others are not known yet",
  );
  hears(other("UP", "up"), other("WAIT", "down"));
  t.equal(n1.told.state, "WAIT", "another serves");
  hears(other("WAIT", "up"));
  t.equal(n1.told.state, "WAIT", "another is about to");
  hears(other("WAIT", "down"), other("STOP", "up"));
  t.equal(n1.told.state, "UP", "nobody else does, or can: the target is down for everybody");
  t.match(n1.shouts[0], /^NOT waiting, though .*: every other node has the same trouble$/);
  hears();
  t.equal(n1.told.state, "UP");
  t.match(n1.told.reason, /NOT waiting, though .*: no other node serves$/);
  hears(other("UP", "up"));
  t.match([n1.told.state, n1.told.reason], ["WAIT", /^waits: ping\.gateway == down: no answer/]);
  hears();
  t.match([n1.told.state, n1.told.reason], ["UP", /NOT waiting, though .*: no other node serves$/]);
  hears(other("UP", "up"));
  t.equal(
    n1.told.state,
    "WAIT",
    "and each time that another comes to serve, though the target was down all the time",
  );
  n1.resource("ping.gateway", "up");
  t.equal(n1.told.state, "UP");
});

function restarts(node: Driver): number {
  return node.since().filter((act) => act === "stop_prim").length;
}

t.test("one process or service is started again without the others", async (t) => {
  const one = { ...rule("service_failure_db", "tcp.db == down", "restart"), part: "service.db" };
  const n1 = primary(watched(one));
  n1.since();
  n1.hold = /^restart_process$/;
  n1.resource("tcp.db", "up").resource("tcp.db", "down", "it ended");
  t.same(
    n1.since().filter((act) => /_|prestart/.test(act)),
    ["restart_process"],
    "no other hook",
  );
  t.equal(n1.scope, "prim", "the other checks go on looking");
  t.match(n1.told, {
    state: "PRIM",
    reason: /^service\.db alone is restarted: tcp\.db == down: it ended \(rule service_failure_db\)/,
  });
  n1.hold = null;
  n1.release();
  t.equal(n1.state.record.loops.length, 1, "it counts for maxLoop");
  n1.fail = /^restart_process$/;
  n1.resource("tcp.db", "init").resource("tcp.db", "down");
  t.ok(n1.since().includes("stop_prim"), "what cannot be done so is done to all");
  t.match(n1.told.reason, /everything is restarted/);
});

t.test("what runs on the primary is not started on a secondary, whoever asks", async (t) => {
  const n2 = secondary(watched(RESTART));
  n2.since();
  n2.command({ name: "restart", part: "tcp.db" });
  t.notOk(n2.since().includes("restart_process"));
  t.match(n2.answers.at(-1), { ok: false, message: "tcp.db does not run on this node while it is SECOND" });
  n2.command({ name: "restart", part: "custom.copy" });
  t.ok(n2.since().includes("restart_process"), "what runs there is");
  const n1 = primary(watched(RESTART));
  n1.since();
  n1.command({ name: "restart", part: "tcp.db" });
  t.ok(n1.since().includes("restart_process"));
});

t.test("maintenance: nothing is restarted, stopped or handed over by itself", async (t) => {
  const all = ["restart", "stopstart", "stop", "swap"] as const;
  const rules = all.map((action) => rule(`r_${action}`, "tcp.db == down", action));
  const n1 = primary({ ...watched(...rules, WAIT), maintenance: true, failback: "n2" });
  n1.since();
  n1.peer({ ...secondView(), resources: { "ping.gateway": "up" } });
  n1.resource("tcp.db", "down", "no answer").resource("ping.gateway", "down");
  n1.report({ kind: "diskFailed", detail: "EIO" });
  t.equal(n1.told.state, "PRIM");
  t.notMatch(n1.since().join(), /stop_prim/);
  t.match(n1.shouts, [
    /^maintenance is on: NO restart, though tcp\.db == down: no answer \(rule r_restart\)/,
  ]);
  t.match(n1.told.reason, /maintenance is on: NO restart/);

  const n2 = secondary({ maintenance: true });
  n2.lost();
  t.match(n2.told, { state: "WAIT", remedy: "holdfast prim db" }, "it does not take over");
  n2.peer(viewOf("STOP", recordOf({ role: "PRIM" }), { readiness: "NotReady", leaving: true }));
  n2.peer(viewOf("STOP", recordOf({ role: "PRIM" }), { readiness: "NotReady" }));
  t.match(n2.told, { state: "WAIT", remedy: "holdfast prim db" });
  n2.lost().command({ name: "prim", force: false });
  t.equal(n2.told.state, "ALONE", "a person may");

  const swapping = primary({ maintenance: true });
  swapping.command({ name: "swap" });
  t.match([swapping.told.state, swapping.state.swap?.phase], ["SECOND", "drained"], "and exchange the roles");
});
