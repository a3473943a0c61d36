/** cluster.yaml: taken whole, or refused whole with the place of every fault. */
import t from "tap";
import { ConfigError, parseClusterYaml } from "../../core/cluster/cluster.ts";

const good = `name: demo
nodes:
  n1: { addresses: { lan: 10.77.0.1, repl: 10.78.0.1 } }
  n2: { addresses: { lan: { address: 10.77.0.2, bind: 192.168.0.2 }, repl: fd00::2 } }
port: 9000
heartbeat: { interval: 100ms, timeout: 1s }
`;

/** The faults of a text, as `line:column: path: message`, without the file's name. */
function faultsOf(text: string): string[] {
  try {
    parseClusterYaml(text, "c.yaml");
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.message.split("\n").map((line) => line.replace(/^c\.yaml:/, ""));
  }
}

t.test("what a good file says, and the defaults", async (t) => {
  const config = parseClusterYaml(good);
  t.match(config, {
    name: "demo",
    lans: ["lan", "repl"],
    port: 9000,
    heartbeat: { intervalMs: 100, timeoutMs: 1000 },
  });
  t.same(
    Object.values(config.nodes).map(({ name, number }) => [name, number]),
    [
      ["n1", 1],
      ["n2", 2],
    ],
  );
  t.same(config.nodes["n1"]!.addresses["lan"], { address: "10.77.0.1", bind: "10.77.0.1" });
  t.same(config.nodes["n2"]!.addresses["lan"], { address: "10.77.0.2", bind: "192.168.0.2" });
  const short = parseClusterYaml("name: a\nnodes: { n1: { addresses: { lan: 10.0.0.1 } } }\n");
  t.match(short, { port: 9453, heartbeat: { intervalMs: 200, timeoutMs: 3000 } });
  t.equal(
    parseClusterYaml(good.replace("timeout: 1s", "timeout: 2s").replace("interval: 100ms, ", "")).heartbeat
      .intervalMs,
    200,
  );
});

t.test("every field wrong in turn", async (t) => {
  const cases: [string, string, RegExp][] = [
    ["name: demo", "name: 3", /^1:7: name: /],
    ["name: demo", "name: ../etc", /^1:7: name: /],
    ["name: demo", `name: ${"x".repeat(33)}`, /^1:7: name: longer than 32/],
    ["name: demo\n", "", /^1:1: name: name is missing/],
    ["  n1:", "  1n:", /^3:\d+: nodes\.1n: /],
    [
      "n1: { addresses: { lan: 10.77.0.1, repl: 10.78.0.1 } }",
      "n1: 10.77.0.1",
      /^3:7: nodes\.n1: expected a mapping/,
    ],
    [
      "n1: { addresses: { lan: 10.77.0.1, repl: 10.78.0.1 } }",
      "n1: { addresses: {} }",
      /^3:20: nodes\.n1\.addresses: a node needs/,
    ],
    ["lan: 10.77.0.1", "lan: 10.77.0.300", /^3:27: nodes\.n1\.addresses\.lan: expected an IP/],
    ["lan: 10.77.0.1", "lan: example.org", /^3:27: nodes\.n1\.addresses\.lan: expected an IP/],
    ["lan: 10.77.0.1", "lan: 0.0.0.0", /^3:27: nodes\.n1\.addresses\.lan: .* is not the address of one node/],
    [
      "lan: 10.77.0.1",
      "lan: 224.0.0.5",
      /^3:27: nodes\.n1\.addresses\.lan: .* is not the address of one node/,
    ],
    ["lan: 10.77.0.1", "lan: [10.77.0.1]", /^3:27: nodes\.n1\.addresses\.lan/],
    ["lan: 10.77.0.1", "lan:", /^3:22: nodes\.n1\.addresses\.lan/],
    ["lan: 10.77.0.1", "2nd: 10.77.0.1", /^3:\d+: nodes\.n1\.addresses\.2nd: /],
    ["lan: 10.77.0.1,", "", /^4:\d+: nodes\.n2\.addresses\.lan: n1 has no address on lan/],
    ["bind: 192.168.0.2", "bind: here", /^4:\d+: nodes\.n2\.addresses\.lan\.bind: expected an IP/],
    [
      "bind: 192.168.0.2",
      "bnd: 192.168.0.2",
      /^4:\d+: nodes\.n2\.addresses\.lan\.bnd: unknown key "bnd": did you mean bind/,
    ],
    ["address: 10.77.0.2, ", "", /^4:\d+: nodes\.n2\.addresses\.lan\.address: address is missing/],
    [
      "address: 10.77.0.2",
      "address: 10.77.0.1",
      /^4:\d+: nodes\.n2\.addresses\.lan: 10\.77\.0\.1 is already the address of n1 on lan/,
    ],
    ["addresses", "adresses", /^3:9: nodes\.n1\.adresses: unknown key "adresses": did you mean addresses/],
    ["port: 9000", 'port: "9000"', /^5:7: port: expected a whole number/],
    ["port: 9000", "port: 0", /^5:7: port: /],
    ["port: 9000", "port: 65500", /^5:7: port: /],
    ["port: 9000", "port: 9000.5", /^5:7: port: /],
    ["port:", "prot:", /^5:1: prot: unknown key "prot": did you mean port/],
    ["interval: 100ms", "interval: 100", /^6:24: heartbeat\.interval: 100 has no unit/],
    ["interval: 100ms", "interval: -1s", /^6:24: heartbeat\.interval: /],
    ["interval: 100ms", "interval: 1ms", /^6:24: heartbeat\.interval: .* out of range: 20ms to 1m/],
    ["timeout: 1s", "timeout: 1 fortnight", /^6:40: heartbeat\.timeout: /],
    ["timeout: 1s", "timeout: 150ms", /^6:12: heartbeat: timeout must be at least twice/],
    ["heartbeat: { interval: 100ms, timeout: 1s }", "heartbeat: 1s", /^6:12: heartbeat: expected a mapping/],
    ["port: 9000", "witness: { ping: [10.0.0.1] }", /^5:10: witness: this version has no witness/],
    ["port: 9000", "port: 9000\nport: 9001", /^6:1: not valid YAML: Map keys must be unique/],
    ["port: 9000", "port: [9000", /not valid YAML/],
    ["port: 9000", "__proto__: { a: 1 }", /^5:1: /],
  ];
  for (const [from, to, expected] of cases) {
    t.ok(good.includes(from), from);
    t.ok(
      faultsOf(good.replace(from, to)).some((fault) => expected.test(fault)),
      `${to.slice(0, 60)}: ${faultsOf(good.replace(from, to)).join(" | ")}`,
    );
  }
});

t.test("all faults of a file at once, in its order", async (t) => {
  const faults = faultsOf(
    good.replace("demo", "d e").replace("10.78.0.1", "x").replace("9000", "none").replace("1s", "1"),
  );
  t.same(
    faults.map((fault) => fault.split(":")[0]),
    ["1", "3", "5", "6"],
  );
});

t.test("files that are no configuration", async (t) => {
  for (const text of [
    "",
    "- a\n- b",
    "3",
    "null",
    "\0",
    "a: &x [*x]",
    "{".repeat(50_000),
    `name: ${"x".repeat(300_000)}`,
  ])
    t.equal(faultsOf(text).length > 0, true, text.slice(0, 20));
});
