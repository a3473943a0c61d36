/** cluster.yaml: taken whole, or refused whole with the place of every fault. */
import t from "tap";
import { ConfigError, parseClusterYaml, withWitness } from "../../core/cluster/cluster.ts";

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
    ["port: 9000", "witness: {}", /^5:10: witness: expected one of etcd, node, s3, ping/],
    [
      "port: 9000",
      "witness: { ping: [10.0.0.1], etcd: ['http://10.0.0.9:2379'] }",
      /^5:10: witness: expected one witness/,
    ],
    ["port: 9000", "witness: { pinf: [10.0.0.1] }", /^5:12: witness\.pinf: unknown key .* did you mean ping/],
    ["port: 9000", "witness: { ping: 10.0.0.1 }", /^5:18: witness\.ping: expected a list/],
    ["port: 9000", "witness: { ping: [] }", /^5:18: witness\.ping: the list is empty/],
    ["port: 9000", "witness: { ping: [10.0.0] }", /^5:19: witness\.ping\[0\]: expected an IP address/],
    [
      "port: 9000",
      "witness: { ping: [10.77.0.1] }",
      /^5:19: witness\.ping\[0\]: .* address of n1 on lan: a witness must not fail/,
    ],
    ["port: 9000", "witness: { etcd: [10.0.0.9] }", /^5:19: witness\.etcd\[0\]: expected a URL/],
    [
      "port: 9000",
      "witness: { etcd: ['http://u:p@10.0.0.9:1'] }",
      /^5:19: witness\.etcd\[0\]: .*they are secrets/,
    ],
    ["port: 9000", "witness: { s3: { region: x } }", /^5:16: witness\.s3\.bucket: bucket is missing/],
    [
      "port: 9000",
      "witness: { s3: { bucket: A_B } }",
      /^5:26: witness\.s3\.bucket: expected a bucket's name/,
    ],
    [
      "port: 9000",
      "witness: { node: { addresses: [10.0.0.9] } }",
      /^5:18: witness\.node\.fingerprint: .* is missing/,
    ],
    [
      "port: 9000",
      "witness: { node: { addresses: [10.0.0.9], fingerprint: abc } }",
      /^5:56: witness\.node\.fingerprint: /,
    ],
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

t.test("a witness, and what the heartbeat timeout is with it", async (t) => {
  const base =
    "name: a\nnodes: { n1: { addresses: { lan: 10.0.0.1 } }, n2: { addresses: { lan: 10.0.0.2 } } }\n";
  const timeoutWith = (witness: string) =>
    parseClusterYaml(`${base}witness: ${witness}\n`).heartbeat.timeoutMs;
  t.equal(parseClusterYaml(base).heartbeat.timeoutMs, 3000);
  t.equal(parseClusterYaml(base).witness, null);
  t.equal(timeoutWith("{ etcd: [http://10.0.0.9:2379] }"), 1000);
  t.equal(timeoutWith("{ s3: { bucket: our-bucket } }"), 1000);
  t.equal(timeoutWith("{ ping: [10.0.0.254] }"), 3000, "a ping address records nothing");
  t.same(parseClusterYaml(`${base}witness: { etcd: [http://10.0.0.9:2379/] }\n`).witness, {
    kind: "etcd",
    endpoints: ["http://10.0.0.9:2379"],
  });
  t.same(parseClusterYaml(`${base}witness: { s3: { bucket: our-bucket, region: eu-west-3 } }\n`).witness, {
    kind: "s3",
    bucket: "our-bucket",
    region: "eu-west-3",
    endpoint: "https://s3.eu-west-3.amazonaws.com",
    prefix: "holdfast",
  });
});

t.test("a command puts a witness into the text, and keeps what people wrote", async (t) => {
  const fingerprint = "A".repeat(43);
  const witness = { addresses: ["10.0.0.9", "fd00::9"], port: 9452, fingerprint };
  const added = withWitness(`# ours\n${good}`, witness);
  t.match(added, /^# ours\nname: demo\n/);
  t.same(parseClusterYaml(added).witness, { kind: "node", ...witness });
  t.same(parseClusterYaml(added).heartbeat, parseClusterYaml(good).heartbeat);
  t.equal(withWitness(added, null).trim(), `# ours\n${good}`.trim());
  const short = "name: a\nnodes: { n1: { addresses: { lan: 10.0.0.1 } } }\n";
  t.equal(
    parseClusterYaml(withWitness(short, witness)).heartbeat.timeoutMs,
    3000,
    "written down, since its default would change",
  );
});
