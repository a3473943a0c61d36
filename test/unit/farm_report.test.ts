/**
 * What `holdfast farm` tells people.
 */
import t from "tap";
import { type FarmReport, reportText } from "../../core/daemon/addresses/farm_report.ts";
import { heldText, planOf, type Stage, stageOf } from "../../core/farm/word.ts";

const REPORT: FarmReport = {
  device: "lan",
  stage: "open",
  held: null,
  virtualMac: null,
  nodes: {
    n1: { stage: "open", buckets: 128, agrees: true, packets: 70 },
    n2: { stage: "open", buckets: 128, agrees: true, packets: 7 },
  },
  answers: { "10.0.0.9/24": "n1" },
  rules: [{ protocol: "tcp", ports: [80], affinity: "client-ip" }],
  buckets: [],
  connections: 3,
  rounds: 0,
  refused: 0,
  leaked: 0,
};

const SHARES = { nodes: ["n1", "n2"], weights: {}, priority: [] };
const BESIDE = new Map<string, { stage: Stage }>([
  ["n1", { stage: "draining" }],
  ["n2", { stage: "open" }],
]);

t.test("packets are handed on in mode: directed only", (t) => {
  t.match(reportText("web", "n1", REPORT), /n2 {2}open {2}128\/256 \(50 %\) {2}7 packets handed to it by n1/);
  const invisible = reportText("web", "n1", { ...REPORT, virtualMac: "02:be:ef:00:00:01" });
  t.notMatch(invisible, "handed", "every node has them from the client");
  t.match(invisible, /n2 {2}open {2}128\/256 \(50 %\) {2}asked about 7 packets by n1/);
  t.match(invisible, /n1 {2}open {2}128\/256 \(50 %\) {2}70 packets taken here/);
  t.end();
});

t.test(
  "a node says why it should have no new clients, also where it has them since no other node does",
  (t) => {
    const { stage, why } = stageOf("well", true, null);
    const [alone, beside] = [planOf(SHARES, new Map([["n1", { stage }]])), planOf(SHARES, BESIDE)];
    t.same([stage, alone.serving, beside.serving], ["draining", ["n1"], ["n2"]]);
    const told = (buckets: number): string => {
      const nodes = { n1: { stage, buckets, agrees: true, packets: 0 } };
      return reportText("web", "n1", { ...REPORT, stage, held: why ?? null, nodes });
    };
    t.match(
      told(alone.assignment.length),
      / {2}n1 takes new clients since no other node does, though it is being drained$/m,
    );
    t.match(told(0), / {2}n1 takes no new clients: it is being drained$/m);
    t.equal(heldText("n2 serves", 0), "takes no new clients: n2 serves");
    t.end();
  },
);

t.test(
  "what a node says of itself: a person's word goes before what holds it, and a checker's before both",
  (t) => {
    t.same(stageOf("well", false, null), { stage: "open" });
    t.same(stageOf("well", false, "n2 serves"), { stage: "held", why: "n2 serves" });
    t.same(stageOf("well", true, "n2 serves"), { stage: "draining", why: "it is being drained" });
    t.same(stageOf("unwell", true, "n2 serves"), { stage: "unwell" });
    t.same(stageOf("away", true, "n2 serves"), { stage: "closed" });
    t.end();
  },
);
