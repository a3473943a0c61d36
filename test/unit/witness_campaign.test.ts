/** The judge of the witness campaign (test/campaign/witness_judge.ts) can say no, and its schedules are what their seeds say. */
import t from "tap";
import {
  type Evidence,
  judge,
  longestGap,
  overlaps,
  readAnswers,
  readFrames,
  readReigns,
  readWrites,
  takeovers,
} from "../campaign/witness_judge.ts";
import { drawSchedule, kindOf, scheduleInWords } from "../campaign/witness_schedule.ts";

/** n1 serves, is frozen at 1300, thawed and stopped at 3000; n2 serves from 2500 on, then n1 again. */
const WRITES = `1000 1005 t1 n1.900
1100 1110 c1 n1.900
1290 3001 t2 n1.900
2500 2510 t1 n2.2400
2600 2605 c2 n2.2400
4000 4010 t1 n1.3900
4100 4110 c3 n1.3900
`;
const CLIENT = `sent 1 1090
acknowledged 1 1120 n1.900
sent 2 2590
acknowledged 2 2610 n2.2400
sent 3 4090
acknowledged 3 4115 n1.3900
`;
const TRANSITIONS = `0.80 n1 WAIT ALONE
1.00 n1 ALONE PRIM
2.30 n2 SECOND ALONE
3.70 n2 PRIM SECOND
3.80 n1 SECOND PRIM
`;
const EPOCH = 1_000_000_000_000;
const frame = (at: number, node: string): string =>
  `${((EPOCH + at) / 1000).toFixed(6)} ${node}-lan  In  ifindex 7 02:77:00:00:00:01 ethertype IPv4 (0x0800), length 80: 10.77.0.100.7788 > 10.77.0.201.40000: Flags [P.]\n`;
const FRAMES = [
  frame(850, "n1"),
  frame(1300, "n1"),
  frame(2400, "n2"),
  frame(3690, "n2"),
  frame(3900, "n1"),
  frame(4200, "n1"),
].join("");
const JOURNAL =
  "t1 n1.900\nc1 n1.900\nt2 n1.900\nt1 n2.2400\nc2 n2.2400\nc9 n2.2400\nt1 n1.3900\nc3 n1.3900\n";

function evidence(
  change: {
    writes?: string;
    client?: string;
    transitions?: string;
    frames?: string;
    n1?: string;
    n2?: string;
  } = {},
): Evidence {
  return {
    writes: readWrites(change.writes ?? WRITES),
    answers: readAnswers(change.client ?? CLIENT),
    reigns: readReigns(change.transitions ?? TRANSITIONS),
    frames: readFrames(change.frames ?? FRAMES, EPOCH),
    journals: { n1: change.n1 ?? JOURNAL, n2: change.n2 ?? JOURNAL },
  };
}

t.test("two takeovers, a frozen primary among them, break nothing", async (t) => {
  t.same(judge(evidence()), []);
  t.equal(takeovers(readWrites(WRITES)), 2);
  t.equal(longestGap(readAnswers(CLIENT)), 1505);
  t.equal(readFrames(FRAMES, EPOCH).length, 6);
  t.same(readFrames("1000.0 br-lan  B  ifindex 2 02:77:00:00:00:01 ethertype ARP\n", 0), []);
});

t.test("two nodes that make things durable at the same time", async (t) => {
  const asked = judge(
    evidence({
      writes: `${WRITES}2512 3002 t3 n1.900\n`,
      n1: `${JOURNAL}t3 n1.900\n`,
      n2: `${JOURNAL}t3 n1.900\n`,
    }),
  );
  t.match(
    asked[0],
    /^G4\(a\), two nodes with durable writes: n1\.900 from 1005\.0 to 2512\.0, and n2\.2400 from 2510\.0/,
  );
  const after = evidence({ writes: `${WRITES}3500 3502 t3 n1.900\n` });
  t.match(judge(after), [/two nodes with durable writes/], "also when the other writes no more");
  const client = CLIENT.replace(
    "sent 3 4090\nacknowledged 3 4115 n1.3900",
    "sent 3 4090\nacknowledged 3 4115 n1.900",
  );
  t.match(
    judge(evidence({ client: `${client}sent 4 4200\nacknowledged 4 4210 n1.900\n` }))[0],
    /two nodes that answered the client: n1\.900/,
  );
  t.same(
    overlaps([
      { name: "a", from: 1, to: 2 },
      { name: "b", from: 2, to: 3 },
    ]),
    [],
    "one after the other",
  );
});

t.test("a frame of the old primary after the first of the new one", async (t) => {
  t.match(judge(evidence({ frames: `${FRAMES}${frame(2401, "n1")}` })), [
    /^G4\(b\).*n1 \(reign 1\) from 850\.0 to 2401\.0/,
  ]);
  t.match(judge(evidence({ frames: `${FRAMES}${frame(3950, "n2")}` })), [/^G4\(b\).*n2 \(reign 1\)/]);
  t.match(judge(evidence({ transitions: "0.80 n1 WAIT ALONE\n3.80 n1 SECOND PRIM\n" })), [
    /n2 spoke at 2400\.0, and was never made primary/,
    /./,
  ]);
  t.match(judge(evidence({ transitions: TRANSITIONS.replace("3.80 n1 SECOND PRIM\n", "") })), [
    /n1 \(reign 1\).*n2 \(reign 1\)/,
  ]);
});

t.test("records that are missing, twice there, out of order, or on one node only", async (t) => {
  const both = (journal: string): string[] => judge(evidence({ n1: journal, n2: journal }));
  t.match(both(JOURNAL.replace("c2 n2.2400\n", "")), [
    /^G1, the journal on n1: 2 acknowledged records are missing: "c2 n2\.2400"/,
    /on n2/,
  ]);
  t.match(both(`${JOURNAL}t1 n1.900\n`)[0], /"t1 n1\.900" is there twice/);
  t.match(
    both(JOURNAL.replace("t1 n2.2400\nc2 n2.2400\n", "c2 n2.2400\nt1 n2.2400\n"))[0],
    /"c2 n2\.2400" was acknowledged after "t1 n2\.2400", and lies before it/,
  );
  t.match(judge(evidence({ n2: JOURNAL.replace("t2 n1.900\n", "") })), [
    /^G7: the journals/,
    /^G1, the journal on n2: 1 acknowledged/,
  ]);
  t.same(both(JOURNAL.replace("c9 n2.2400\n", "")), [], "what nobody was promised may be missing");
});

t.test("a seed is a schedule, and all that may happen does", async (t) => {
  t.same(drawSchedule(7), drawSchedule(7));
  t.not(scheduleInWords(drawSchedule(7)), scheduleInWords(drawSchedule(8)));
  const seen = new Set<string>();
  for (let seed = 1; seed <= 400; seed++)
    for (const fault of drawSchedule(seed).faults) {
      seen.add(kindOf(fault));
      if (fault.do === "frozen") seen.add(fault.thaw).add(`${fault.ms}`);
    }
  const wanted = [
    ...[
      "isolated",
      "cannot be heard",
      "cannot hear",
      "parted",
      "parted one way",
      "everybody alone",
      "any links",
    ].map((shape) => `links: ${shape}`),
    ...["cut from the witness", "cut from the witness one way", "the witness is isolated"].map(
      (shape) => `links: ${shape}`,
    ),
    ...["witness killed", "witness frozen", "witness emptied", "swap", "client cut off"],
    ...["prim frozen (everything)", "second frozen (everything)", "prim frozen (the daemon)", "30000"],
    ...["all at once", "the application first", "application and replication first"],
    ...["power of prim cut", "power of second cut", "power of both cut", "prim stopped and started"],
  ];
  t.same(
    wanted.filter((kind) => !seen.has(kind)),
    [],
  );
});
