/** `holdfast explain`: times as people type them, two journals put together, the picture, and what would have prevented it. */
import t from "tap";
import { offsetOf } from "../../core/daemon/explanation.ts";
import { type Explanation, explain, type Source } from "../../core/explain/explain.ts";
import {
  explainSnapshot,
  packSnapshot,
  readSnapshot,
  type SnapshotDocument,
} from "../../core/explain/snapshot.ts";
import { explanationText, PLAIN } from "../../core/explain/text.ts";
import { readTold } from "../../core/explain/told.ts";
import { parseWhen } from "../../core/explain/when.ts";

const NOON = new Date(2026, 10, 27, 12, 0, 0).getTime();
const local = (...parts: [number, number, number, number, number, number?]): number =>
  new Date(...(parts as [number, number, number, number, number])).getTime();

t.test("times", async (t) => {
  const at = (text: string) => parseWhen(text, NOON).from;
  const length = (text: string): number => parseWhen(text, NOON).to - parseWhen(text, NOON).from + 1;
  t.equal(at("11:05"), local(2026, 10, 27, 11, 5));
  t.equal(length("11:05"), 60_000, "a whole minute");
  t.equal(at("14:05"), local(2026, 10, 26, 14, 5), "what has not come yet today was yesterday");
  t.equal(at("03:10:14"), local(2026, 10, 27, 3, 10, 14));
  t.equal(length("03:10:14"), 1000);
  t.equal(at("yesterday 03:10"), local(2026, 10, 26, 3, 10));
  t.equal(at("2026-11-25 03:10"), local(2026, 10, 25, 3, 10));
  t.equal(at("2026-11-25"), local(2026, 10, 25, 0, 0));
  t.equal(length("2026-11-25"), 86_400_000);
  t.equal(at("2026-11-27T03:10:00Z"), Date.UTC(2026, 10, 27, 3, 10));
  t.equal(at("2026-11-27T03:10:00+01:00"), Date.UTC(2026, 10, 27, 2, 10));
  t.equal(at("2026-11-27T03:10:00Z/2026-11-27T03:11:00Z"), Date.UTC(2026, 10, 27, 3, 10));
  t.equal(at("10m ago"), NOON - 600_000);
  t.equal(at("1h 30m ago"), NOON - 5_400_000);
  t.equal(at("90s ago"), NOON - 90_000);
  for (const wrong of ["25:00", "2026-02-30", "soon", "ago", "10 ago", "12:61", "", "2026-13-01 10:00"])
    t.throws(() => parseWhen(wrong, NOON), /is no time: 14:05/, wrong);
});

t.test("how far another clock is ahead", async (t) => {
  const other = await offsetOf(async () => ({ now: Date.now() + 5000 }));
  t.ok(Math.abs(other!.aheadMs - 5000) <= other!.uncertainMs + 1, JSON.stringify(other));
  t.equal(await offsetOf(async () => null), null, "a node that does not answer");
  t.equal(await offsetOf(async () => ({ no: 1 })), null);
});

/** One entry of a journal, `ms` after the beginning of the story. */
type Entry = [
  ms: number,
  state: string,
  event: Record<string, unknown>,
  why?: string,
  effects?: Effect[],
  step?: Step,
];
type Effect = { id: number; do: string } & Record<string, unknown>;
type Step = { what: string; tookMs: number };

function side(node: string, entries: readonly Entry[], clockMs = 0, lines: unknown[] = []): Source {
  const decisions = entries.map(([ms, shown, event, why = "", effects = [], step]) => {
    const [state, readiness] = shown.split(" ");
    const time = new Date(NOON + clockMs + ms).toISOString();
    return { time, node, event, why, effects, state, readiness, ...(step ? { step } : {}) };
  });
  const told = readTold({ node, since: decisions[0]?.time ?? null, decisions, lines });
  return { told, clock: clockMs === 0 ? null : { aheadMs: clockMs, uncertainMs: 2 } };
}

const ABOUT = {
  kind: "mirror",
  lans: ["lan"],
  timeoutMs: 1000,
  onIsolation: "continue",
  maxLoop: 3,
  checks: [],
};
const view = (state: string) => ({ type: "peer", view: { state, readiness: "Ready", outdate: null } });
const hook = (id: number, name: string): Effect => ({ id, do: "hook", hook: name, force: false });
const done = (effect: number, detail = "done") => ({ type: "done", effect, ok: true, detail });
const tell = (sources: Record<string, Source>, at: string | null = null): Explanation =>
  explain("db", "n2", sources, ABOUT, {}, at === null ? null : parseWhen(at, NOON));
const text = (told: Explanation): string => explanationText(told, PLAIN).replace(/\s+/g, " ");

/** n2's side of a takeover. */
const TAKEOVER: Entry[] = [
  [-60_000, "SECOND Ready", view("PRIM")],
  [
    0,
    "SECOND Transient",
    { type: "peerLost", cause: "n1 is silent on lan" },
    "n1 is silent: n2 takes over",
    [{ id: 1, do: "persist", record: { role: "ALONE", consistency: "uptodate" } }],
  ],
  [
    10,
    "ALONE Transient",
    done(1, ""),
    "",
    [hook(2, "stop_second")],
    { what: "record on disk (ALONE, uptodate)", tookMs: 9 },
  ],
  [20, "ALONE Transient", done(2, ""), "", [hook(3, "start_prim")], { what: "stop_second", tookMs: 0 }],
  [420, "ALONE Ready", done(3), "", [], { what: "start_prim", tookMs: 400 }],
];

t.test("a takeover: one node's side is missing", async (t) => {
  const told = tell({ n1: { told: null, clock: null }, n2: side("n2", TAKEOVER) });
  t.equal(told.incident!.title, "n2: n1 is silent: n2 takes over");
  const [moment] = told.incident!.moments;
  t.match(moment, { node: "n2", cause: "lost", saw: "n1 is silent on lan" });
  t.same(
    moment!.ran.map(({ what, tookMs }) => `${what} ${tookMs}`),
    ["record on disk (ALONE, uptodate) 9", "start_prim 400"],
    "in order, with how long each took; a hook that the module does not have did not run",
  );
  t.match(moment!.became.at(-1), { state: "ALONE", readiness: "Ready" });
  t.match(told.incident!.prevention, [
    /^n1 crashed, lost its power or its network.* n1 does not answer now either/,
  ]);
  t.same(
    told.timeline["n1"]!.map(({ state }) => state),
    ["PRIM", ""],
    "what n2 heard of it: PRIM, then silence",
  );
  t.match(text(told), "n1 does not answer: its side of the story is missing");
});

t.test("both sides, by one clock", async (t) => {
  // n1's clock is 5 s ahead; it was cut off, went on alone, and lost n2 20 ms before n2 lost it.
  const n1 = side(
    "n1",
    [
      [-60_000, "PRIM Ready", view("SECOND")],
      [
        -20,
        "PRIM Ready",
        { type: "peerLost", cause: "n2 is silent on lan" },
        "n2 is silent: n1 goes on alone",
        [{ id: 1, do: "goAlone" }],
      ],
      [5, "ALONE Ready", done(1, ""), "", [], { what: "let writes go on without the peer", tookMs: 25 }],
    ],
    5000,
  );
  const told = tell({ n1, n2: side("n2", TAKEOVER) });
  t.same(
    told.incident!.moments.map(({ node, saw }) => `${node}: ${saw}`),
    ["n1: n2 is silent on lan", "n2: n1 is silent on lan"],
  );
  t.equal(told.incident!.from, new Date(NOON - 20).toISOString(), "on n2's clock");
  t.match(text(told), "the clock of n1 is 5.0 s ahead (± 2 ms, measured now): its times are put right here");
  t.match(told.incident!.prevention, [
    /did not hear each other.* A second network would have carried the heartbeats.*onIsolation: wait/,
  ]);
  t.same(
    told.timeline["n1"]!.map(({ state }) => state),
    ["PRIM", "ALONE"],
    "its own side counts",
  );
});

t.test("a journal that begins in the middle", async (t) => {
  const told = tell({ n1: side("n1", []), n2: side("n2", TAKEOVER.slice(2)) });
  t.match(told.incident!.moments, [{ saw: "", ran: [{ what: "start_prim" }] }]);
  t.notMatch(explanationText(told, PLAIN), /in order\n\n/, "no moment of which nothing is known");
});

t.test("which incident is meant", async (t) => {
  const hour = 3_600_000;
  const restart = (ms: number, name: string): Entry[] => [
    [
      ms,
      "PRIM Transient",
      { type: "resource", name, state: "down", detail: "gone" },
      `restarted: ${name} is down: gone (rule t_db)`,
      [hook(7, "stop_prim")],
    ],
    [ms + 50, "PRIM Ready", done(7), "", [], { what: "stop_prim", tookMs: 50 }],
  ];
  const entries: Entry[] = [
    [
      -9 * hour,
      "PRIM Ready",
      { type: "command", cause: "alice: holdfast start" },
      "start (alice)",
      [hook(1, "start_prim")],
    ],
    ...restart(-8 * hour, "tcp.first"),
    [-7 * hour, "PRIM Ready", { type: "resource", name: "ping.gw", state: "down", detail: "" }],
    ...restart(-2 * hour, "tcp.second"),
  ];
  const sources = { n2: side("n2", entries), n1: side("n1", []) };
  const titles = (at: string | null): string => tell(sources, at).incident!.title;
  t.match(titles(null), /tcp\.second/, "the last one");
  t.match(titles("04:00"), /tcp\.first/);
  t.match(titles("04:30"), /tcp\.first/, "the nearest that people felt");
  t.match(titles("05:00"), /ping\.gw/, "what happened right then, though it changed nothing");
  t.match(titles("10:03"), /tcp\.second/);
  const first = tell(sources, "04:00");
  t.equal(first.incident!.moments[0]!.rule, "t_db");
  t.match([first.before.length, first.after.map(({ title }) => title).join()], [1, /tcp\.second/]);
  t.equal(tell({ n2: side("n2", []), n1: side("n1", []) }).incident, null);
});

t.test("a checker whose name has a dash is known by its whole name, and so is its rule", async (t) => {
  const checks = ["tcp.db", "tcp.db-2"].map((resource) => ({
    resource,
    subject: { type: "tcp" as const, address: "127.0.0.1:5432" },
    rhythm: { interval: 10_000, timeout: 5000, failures: 1, successes: 1, grace: 0 },
    action: "restart" as const,
  }));
  const down = { type: "resource", name: "tcp.db-2", state: "down", detail: "gone" };
  const entries: Entry[] = [
    [0, "PRIM Transient", down, "restarted: tcp.db-2 is down: gone (rule t_db-2)", [hook(7, "stop_prim")]],
    [50, "PRIM Ready", done(7), "", [], { what: "stop_prim", tookMs: 50 }],
  ];
  const { incident } = explain("db", "n1", { n1: side("n1", entries) }, { ...ABOUT, checks }, {}, null);
  t.match(incident!.moments[0], { cause: "rule", rule: "t_db-2" });
  t.match(incident!.prevention, [/^tcp\.db-2 did not find what it should/]);
});

t.test(
  "a hook that fails tells what it printed; a warning of the log is told where no decision says it",
  async (t) => {
    const line = (ms: number, level: string, words: string) => ({
      time: new Date(NOON + ms).toISOString(),
      node: "n2",
      level,
      text: words,
    });
    const failure = { type: "done", effect: 3, ok: false, detail: "start_prim failed with exit status 1" };
    const told = tell({
      n1: side("n1", []),
      n2: side(
        "n2",
        [
          [
            0,
            "ALONE Transient",
            { type: "command", cause: "alice: holdfast prim" },
            "prim (alice)",
            [hook(3, "start_prim")],
          ],
          [
            300,
            "WAIT Transient",
            failure,
            "start_prim failed on n2: exit status 1",
            [],
            { what: "start_prim", tookMs: 300 },
          ],
        ],
        0,
        [
          line(5, "script", "Script start_prim"),
          line(250, "script", "\x1b[2JFATAL: no space left on device"),
          line(301, "warning", "hook: start_prim failed with exit status 1"),
          line(400, "warning", "lan: this daemon did not run for 700 ms"),
          line(1400, "warning", "lan: this daemon did not run for 700 ms"),
        ],
      ),
    });
    const { moments, prevention } = told.incident!;
    t.same(moments[0]!.ran[0]!.printed, ["\x1b[2JFATAL: no space left on device"]);
    t.match(
      text(told),
      "| [2JFATAL: no space left on device",
      "what it printed does not move the reader's cursor",
    );
    t.same(
      moments.filter(({ cause }) => cause === "warning").map(({ saw }) => saw),
      ["lan: this daemon did not run for 700 ms", "lan: this daemon did not run for 700 ms"],
    );
    t.match(text(told), /did not run for 700 ms \(2 times, until \d\d:00:01\.400\)/, "said once");
    t.match(prevention.join("\n"), /start_prim failed: mend it, try it with holdfast module test db/);
  },
);

t.test("the picture fits its width, whatever happened", async (t) => {
  const many: Entry[] = Array.from({ length: 60 }, (_, index) => [
    index * 900,
    index % 2 === 0 ? "PRIM Transient" : "PRIM Ready",
    { type: "command", cause: "alice: holdfast restart" },
    `restart ${index}`,
    [hook(index + 1, "stop_prim")],
  ]);
  const told = tell({ n1: side("n1", []), n2: side("n2", many) });
  for (const width of [40, 80, 132]) {
    const lines = explanationText(told, { ...PLAIN, width }).split("\n");
    const picture = lines.filter((line) => /^ +n[12] {2}.*[═╌]/.test(line));
    t.equal(picture.length, 1, "the node that is known");
    t.ok(
      picture.every((line) => line.length <= width),
      `${width} columns`,
    );
  }
  const colours: string[] = [];
  const paint = (colour: string, words: string): string => {
    colours.push(colour);
    return words;
  };
  explanationText(told, { width: 80, paint });
  t.ok(colours.includes("green") && colours.includes("yellow"));
});

t.test(
  "a snapshot tells the same story on another machine, and a file that is none is refused",
  async (t) => {
    const sources = { n1: side("n1", [], 300), n2: side("n2", TAKEOVER) };
    const document: SnapshotDocument = {
      format: "holdfast snapshot",
      version: 1,
      made: new Date(NOON + 60_000).toISOString(),
      holdfast: "0.0.0",
      cluster: "test",
      node: "n2",
      yaml: "",
      status: {},
      findings: [],
      modules: { db: { sources, about: ABOUT, now: {} } },
    };
    const read = readSnapshot(packSnapshot(document));
    t.same(explainSnapshot(read, "db", null), tell(sources));
    t.throws(() => explainSnapshot(read, "web", null), /^has no module web \(modules in it: db\)$/);
    t.throws(() => explainSnapshot(read, "constructor", null), /^has no module constructor/);
    t.throws(() => readSnapshot(Buffer.from("name: db")), /^is no snapshot: /);
    const other = { ...document, version: 2 } as unknown as SnapshotDocument;
    t.throws(() => readSnapshot(packSnapshot(other)), /^is no snapshot that this version reads: version /);
    const torn = packSnapshot(document).subarray(0, 200);
    t.throws(() => readSnapshot(torn), /^is no snapshot: /);
  },
);

t.test("both nodes had run alone: what gave way, and where its writes are", async (t) => {
  const split =
    "split brain: both nodes ran alone; n2 stays, this node keeps its own writes aside and follows";
  const loser: Entry[] = [
    [-60_000, "ALONE Ready", view("UNKNOWN")],
    [0, "ALONE Transient", view("ALONE"), `n2 is heard again; ${split}`, [hook(1, "stop_prim")]],
    [900, "SECOND Ready", { type: "replication", report: { kind: "inSync" } }, "in step"],
  ];
  const told = tell({ n1: side("n1", loser), n2: side("n2", []) });
  t.match(told.incident!.title, /^n1: split brain: both nodes ran alone/);
  t.match(told.incident!.moments[0], { cause: "split", decided: /keeps its own writes aside/ });
  t.match(told.incident!.prevention, [/recording witness, or onIsolation: wait.*VAR\/saved\/db/]);
  const sources = { n1: side("n1", loser), n2: side("n2", []) };
  const witnessed = explain("db", "n1", sources, { ...ABOUT, isWitnessed: true }, {}, null);
  t.match(witnessed.incident!.prevention, [/started by a person \(prim --force\).*VAR\/saved\/db/]);
});

/** A hook of n1 that hangs, and is called again by force. */
const hangs = (id: number, name: string, atMs: number): Entry => [
  atMs,
  "PRIM Transient",
  { type: "done", effect: id, ok: false, detail: `${name} ran over its time limit of 5m and was killed` },
  `${name} failed on n1`,
  [
    { id: id + 1, do: "hook", hook: name, force: true },
    { id: id + 2, do: "fence" },
  ],
  { what: name, tookMs: atMs },
];

t.test("what would have prevented it names the cause, not what came of it", async (t) => {
  const minutes = 60_000;
  const why = "the replication process is gone";
  const n1: Entry[] = [
    [-minutes, "PRIM Ready", view("SECOND")],
    [
      0,
      "PRIM Transient",
      { type: "command", cause: "alice: holdfast restart" },
      "restart",
      [hook(1, "stop_prim")],
    ],
    hangs(1, "stop_prim", 5 * minutes),
    [
      5 * minutes + 20,
      "WAIT Transient",
      done(3, ""),
      "",
      [],
      { what: "kill the application, unmount (fence)", tookMs: 20 },
    ],
    [5 * minutes + 30, "WAIT Transient", { type: "replication", report: { kind: "died", cause: why } }],
    [5 * minutes + 95_000, "SECOND Ready", { type: "replication", report: { kind: "inSync" } }, "follows n2"],
  ];
  const told = tell({ n1: side("n1", n1), n2: side("n2", []) });
  t.match(text(told), / \+5m39s \+7m14s /, "where a story is long, its parts are told apart");
  t.same(told.incident!.prevention.length, 1, "a fence ends the replication process: nothing else failed");
  t.match(told.incident!.prevention, [/stop_prim ran over .* a shorter timeouts\.stop/]);

  const cause = "the peer could not apply an operation: operation 192 failed on this copy: ENOSPC";
  const full: Entry[] = [
    [-minutes, "PRIM Ready", view("SECOND")],
    [
      0,
      "ALONE Ready",
      { type: "replication", report: { kind: "peerGone", cause } },
      "n2 does not acknowledge",
    ],
  ];
  t.match(tell({ n1: side("n1", full), n2: side("n2", []) }).incident!.prevention, [/^A disk of n2 is full/]);
});

t.test("who comes is heard before it hears, and that is no loss of packets", async (t) => {
  const oneWay = "n2 is heard here, but does not hear n1: packets are lost on the way there";
  const heard = (state: string, detail = ""): Record<string, unknown> => ({
    type: "resource",
    name: "heartbeat.lan",
    state,
    detail,
  });
  const story = (upMs: number): string =>
    text(
      tell({
        n1: side("n1", [
          [0, "STOP NotReady", { type: "boot", start: false, adopt: false }, "not started"],
          [40, "STOP NotReady", heard("down", oneWay)],
          [upMs, "STOP NotReady", heard("up")],
        ]),
        n2: side("n2", []),
      }),
    );
  t.notMatch(story(100), /packets are lost/);
  t.match(story(100), /sees the module was loaded .* heartbeat\.lan is up/);
  t.match(story(5000), /packets are lost/);
});

t.test("a takeover that a silent witness kept from happening", async (t) => {
  const why = "n1 is silent: no takeover, since the witness does not answer";
  const n2: Entry[] = [
    [-60_000, "SECOND Ready", view("PRIM")],
    [0, "WAIT NotReady", { type: "peerLost", cause: "n1 is silent on lan" }, why],
  ];
  const told = tell({ n1: { told: null, clock: null }, n2: side("n2", n2) });
  t.match(told.incident!.prevention, [/^n1 crashed/, /^The witness did not answer n2/]);
});

t.test("a cut network with a witness: it is not said that one would have helped", async (t) => {
  const why = "neither n2 nor the witness vouches for n1 any more: it stops before n2 may start";
  const n1: Entry[] = [
    [-60_000, "PRIM Ready", view("SECOND")],
    [-280, "PRIM Transient", { type: "timer", name: "witness" }, why, [{ id: 1, do: "fence" }]],
    [
      -200,
      "WAIT NotReady",
      done(1, ""),
      "",
      [],
      { what: "kill the application, unmount (fence)", tookMs: 80 },
    ],
    [0, "WAIT NotReady", { type: "peerLost", cause: "n2 is silent on lan" }, ""],
  ];
  const sources = { n1: side("n1", n1), n2: side("n2", TAKEOVER) };
  const told = explain("db", "n2", sources, { ...ABOUT, isWitnessed: true }, {}, null);
  t.match(told.incident!.prevention, [
    /^Neither its peer nor the witness vouched for n1 in time.*holdfast cluster witness show/,
    /^Both nodes ran, and did not hear each other.* The witness let one of them go on\.$/,
  ]);
  t.equal(told.incident!.prevention.length, 2);
});

t.test("a node of a farm falls silent: nobody decides anything, and it is told all the same", async (t) => {
  const line = (node: string, ms: number, level: string, words: string) => ({
    time: new Date(NOON + ms).toISOString(),
    node,
    level,
    text: words,
  });
  const rule = { type: "resource", name: "http.site", state: "down", detail: "503" };
  const one = (node: string, lost: string): Source =>
    side(node, [[-60_000, "UP Ready", rule, "restarted: http.site is down (rule h_site)"]], 0, [
      line(node, 0, "warning", `no sign of life from ${lost} for 1.0 s on any of: lan; last heard on lan`),
      line(node, 40, "event", "Farm load: n1 128/256, n2 128/256"),
    ]);
  const farm = (sources: Record<string, Source>): Explanation =>
    explain("web", "n1", sources, { ...ABOUT, kind: "farm" }, {}, null);
  const dead = farm({ n1: one("n1", "n3"), n2: one("n2", "n3"), n3: { told: null, clock: null } });
  t.match(dead.incident!.title, /^n1: n3 is silent$/, "and not the restart before it");
  t.match(dead.incident!.prevention, [/^n3 crashed, lost its power or its network/]);
  t.equal(dead.timeline["n3"]!.at(-1)!.state, "", "it is silent in the picture");
  t.match(text(dead), /n1 sees clients are shared out: n1 128\/256, n2 128\/256/);
  const cut = farm({ n1: one("n1", "n2"), n2: one("n2", "n1") });
  t.match(cut.incident!.prevention, [/^Both nodes ran, and did not hear each other/]);
});
