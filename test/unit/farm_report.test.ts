/**
 * What `holdfast farm` tells people.
 */
import t from "tap";
import { type FarmReport, reportText } from "../../core/daemon/addresses/farm_report.ts";

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

t.test("packets are handed on in mode: directed only", (t) => {
  t.match(reportText("web", "n1", REPORT), /n2 {2}open {2}128\/256 \(50 %\) {2}7 packets handed to it by n1/);
  const invisible = reportText("web", "n1", { ...REPORT, virtualMac: "02:be:ef:00:00:01" });
  t.notMatch(invisible, "handed", "every node has them from the client");
  t.match(invisible, /n2 {2}open {2}128\/256 \(50 %\) {2}asked about 7 packets by n1/);
  t.match(invisible, /n1 {2}open {2}128\/256 \(50 %\) {2}70 packets taken here/);
  t.end();
});
