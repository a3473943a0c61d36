/**
 * What module.yaml may say of a farm with a virtual IP of its own.
 */
import { parse } from "@std/yaml";
import t from "tap";
import * as v from "valibot";
import { crossChecks } from "../../modules/cross_checks.ts";
import { moduleSchema } from "../../modules/schema.ts";

const NODES = ["n1", "n2", "n3"];
const IP = "virtualIps: [{ address: 10.0.0.9/24 }]\n";
const RULES = "loadBalancing:\n  rules: [{ protocol: tcp, ports: [80, 443] }]\n";

/** What is wrong with it, `path: message` each. */
function faults(yaml: string, nodes: readonly string[] = NODES): string[] {
  const config = v.parse(moduleSchema, parse(`kind: farm\n${yaml}`));
  return crossChecks(config, { nodes, lans: ["lan"] }).map(
    ({ path, message }) => `${path.join(".")}: ${message}`,
  );
}

t.test("a farm says how the clients of its virtual IP are shared out", (t) => {
  for (const fine of [
    "",
    IP + RULES,
    `${IP}${RULES}  mode: invisible\n`,
    `${IP}${RULES}  priority: [n2, n1]\n`,
    `${IP}${RULES}  weights: { n1: 0 }\n`,
  ])
    t.same(faults(fine), [], fine);
  const refused: [string, RegExp][] = [
    [IP, /^virtualIps: a farm with a virtual IP says how its clients are shared out/],
    [`${IP}loadBalancing: { mode: external }\n`, /^virtualIps: a farm with a virtual IP says how/],
    [`${IP}loadBalancing: { mode: directed }\n`, /^loadBalancing\.rules: name at least one rule/],
    [
      RULES,
      /^loadBalancing: mode: directed shares the clients of a virtual IP out: name one under virtualIps/,
    ],
    [`${IP}${RULES}  weights: { n9: 1 }\n`, /^loadBalancing\.weights\.n9: n9 is not a node of this module/],
    [`${IP}${RULES}  priority: [n9]\n`, /^loadBalancing\.priority\.0: n9 is not a node of this module/],
    [`${IP}${RULES}  priority: [n1]\n  weights: { n1: 2 }\n`, /^loadBalancing\.priority: .*keep one of them/],
  ];
  for (const [yaml, message] of refused) t.match(faults(yaml), [message], yaml);
  const many = Array.from({ length: 33 }, (_, at) => `n${at}`);
  t.match(faults(IP + RULES, many), [/^virtualIps: at most 32 nodes share a virtual IP, and these are 33/]);
  t.end();
});
