/** userconfig.xml to module.yaml: every element and attribute, and the files of a package. */
import t from "tap";
import { importPackage } from "../../modules/safekit/safekit.ts";
import { HOLDERS, ROWS } from "../../modules/safekit/table.ts";
import { readXml } from "../../modules/safekit/xml.ts";
import { fixture, imported, mirror, reportText, yamlOf } from "../fixtures/safekit/imported.ts";
import { zip } from "../fixtures/zip_writer.ts";

t.test(
  "the packages of these tests hold every element and attribute that the table knows, and nothing is unknown",
  async (t) => {
    const seen = new Set<string>();
    const visit = (element: ReturnType<typeof readXml>, path: string): void => {
      const inner =
        HOLDERS.has(element.name) || element.name === "service"
          ? path
          : path === ""
            ? element.name
            : `${path}/${element.name}`;
      seen.add(inner);
      for (const name of element.attributes.keys())
        seen.add(`${element.name === "service" ? "service" : inner} ${name}`);
      for (const child of element.children) visit(child, inner);
    };
    for (const name of ["mirror", "farm"])
      for (const child of readXml(Buffer.from(fixture(name)), name).children) visit(child, "");
    for (const [path, { attributes }] of Object.entries(ROWS))
      for (const name of Object.keys(attributes)) t.ok(seen.has(`${path} ${name}`), `${path} ${name}`);
    for (const name of ["mirror", "farm"]) t.notMatch(reportText(imported(fixture(name))), /unknown here/);
  },
);

t.test("a mirror", async (t) => {
  const now = yamlOf(imported(fixture("mirror")));
  t.strictSame(now, {
    kind: "mirror",
    boot: "always",
    failover: "manual",
    failback: "n1",
    maxLoop: { count: 5, interval: "12h" },
    heartbeat: { interval: "500ms", timeout: "4s", lans: ["lan", "repl"] },
    virtualIps: [
      { address: "10.77.0.100/24", interface: "eth0" },
      { address: "fd00::5/64", interface: "eth0" },
      { address: "10.77.0.101/24" },
    ],
    replicate: {
      durability: "write",
      timeout: "30s",
      bandwidth: "5000kB/s",
      paths: [{ path: "/srv/shop/data", notEmpty: true, exclude: ["cache", "*.tmp"] }],
      lans: ["repl", "lan"],
    },
    timeouts: { stop: "2m", force: "90s" },
    vars: { PORT: "5432", GREETING: `it's "good" & $HOME` },
    onIsolation: "wait",
    checkers: {
      interface: { eth0: { name: "eth0", when: "pre", action: "wait" } },
      ip: {
        vip_10_77_0_100: { address: "10.77.0.100", when: "prim", action: "stopstart" },
        vip_10_77_0_101: { address: "10.77.0.101", when: "prim", action: "stopstart" },
        r_10_77_0_100: { when: "prim", action: "stopstart", address: "10.77.0.100", interval: "10s" },
      },
      tcp: {
        db: { when: "prim", action: "restart", address: "127.0.0.1:5432", interval: "10s", timeout: "5s" },
      },
      ping: {
        gateway: { when: "pre", action: "wait", address: "10.77.0.254", interval: "10s", timeout: "5s" },
      },
      module: { web: { name: "farm", action: "wait", on: "anywhere", interval: "10s", timeout: "5s" } },
    },
    processes: {
      shop_d: { regex: "^shop\\.d$", when: "prim", action: "restart", min: 1, max: 4 },
      db: { regex: "^postgres", argumentsRegex: "-D /srv", when: "both", action: "stopstart" },
      cron: { unit: "cron", when: "second", action: "none" },
    },
    rules: JSON.parse(`{
      "no_gateway": { "if": "ping.gateway == down && remote.ping.gateway == up", "then": "swap" },
      "all": { "if": "tcp.* == down", "then": "stop" },
      "mixed": { "if": "process.shop_d == down || remote.ip.? == down && ip.r_10_77_0_100 != up", "then": "stopstart" }
    }`),
  });
});

t.test("a farm", async (t) => {
  const now = yamlOf(imported(fixture("farm")));
  t.strictSame(now, {
    kind: "farm",
    boot: "never",
    maxLoop: { count: 0 },
    heartbeat: { interval: "100ms", timeout: "2s", lans: ["lan"] },
    timeouts: { force: "5m" },
    vars: { SERVICES: "nginx" },
    checkers: { ip: { vip_10_77_0_100: { address: "10.77.0.100", when: "both", action: "stopstart" } } },
    loadBalancing: {
      mode: "directed",
      weights: { n1: 1, n2: 64 },
      rules: [
        { ports: [80], protocol: "tcp", affinity: "client-ip" },
        { ports: [53], protocol: "udp", affinity: "connection" },
      ],
    },
    virtualIps: [{ address: "10.77.0.100/24" }],
  });
  const invisible = yamlOf(imported(fixture("farm").replace("vmac_directed", "vmac_invisible")));
  t.match(invisible["loadBalancing"], { mode: "invisible" });
});

t.test("the report names each line, what became of it, and why", async (t) => {
  const lines = reportText(imported(fixture("mirror"))).split("\n");
  for (const line of [
    `conf/userconfig.xml:7: translated: <service> failover="off": failover: manual`,
    `conf/userconfig.xml:7: no equivalent: <service> automatic_reboot="on": Holdfast does not reboot machines for a stopstart`,
    `conf/userconfig.xml:10: translated: <heartbeat> name="repl": heartbeat.lans[1]: repl; a network of the same name must be in cluster.yaml`,
    `conf/userconfig.xml:18: approximated: <virtual_addr> netmask="as the interface's" (not written: SafeKit's default): /24 is written, /64 for IPv6: put it right`,
    `conf/userconfig.xml:24: translated: <virtual_addr> addr="10.77.0.101": virtualIps[2]`,
    `conf/userconfig.xml:30: approximated: <rfs> sendtimeout="30s": replicate.timeout: 30s; one limit for the peer's answer, then the primary goes on ALONE: the shortest of SafeKit's is taken`,
    `conf/userconfig.xml:41: no equivalent: <replicated> dir="D:\\\\data": "D:\\\\data" is no absolute path of Linux`,
    `conf/userconfig.xml:46: no equivalent: <var> value="/tmp": this name is not a module's to set`,
    `conf/userconfig.xml:56: translated: <to> addr="127.0.0.1": checkers.tcp.db.address: 127.0.0.1:5432`,
    `conf/userconfig.xml:70: no equivalent: <failover> "gone: if (tcp.mail == down) then stop();": module.yaml does not take it: nothing sets tcp.mail: there is tcp.db, ping.gateway, interface.eth0, ip.vip_10_77_0_100, ip.vip_10_77_0_101, ip.r_10_77_0_100, module.web, process.shop_d, process.db, process.cron, replication.uptodate, replication.insync, heartbeat.lan, heartbeat.repl, splitbrain.witness, custom.<name>`,
  ])
    t.ok(lines.includes(line), line);
  const { counts, report } = imported(fixture("mirror"));
  t.equal(counts.translated + counts.approximated + counts.none, report.length);
});

t.test("values at the edge", async (t) => {
  const now = (xml: string) => yamlOf(imported(xml));
  t.match(now(mirror("")), { kind: "mirror", boot: "never" });
  t.match(now("<safe><service/></safe>"), { kind: "mirror" }, "mirror is the default");
  t.match(now(`<safe><service mode="light" defaultprim="alone" failover="off"/></safe>`), { kind: "light" });
  t.notOk("failover" in now(`<safe><service mode="light" failover="off"/></safe>`));
  t.match(reportText(imported(mirror(`<heart pulse="100us"/>`))), /pulse="100us": 100us is less than one ms/);
  t.match(
    reportText(imported(mirror(`<heart pulse="5ms"/>`))),
    /pulse="5ms": module\.yaml does not take it: 5ms is out of range/,
  );
  t.match(
    reportText(imported(mirror(`<heart pulse="5ms"/>`))),
    /heart> timeout="30000ms" \(not written: SafeKit's default\): SafeKit's default of 30 s is left out/,
  );
  t.match(
    reportText(imported(mirror(`<vip tcpreset="on"/>`))),
    /translated: <vip> tcpreset="on": connections to the address are reset when it leaves$/m,
  );
  t.match(
    reportText(imported(mirror(`<vip tcpreset="off"/>`))),
    /no equivalent: <vip> tcpreset="off": connections to the address are reset when it leaves, always$/m,
  );
  t.match(
    reportText(imported(mirror(`<heart pulse="3s" timeout="4s"/>`))),
    /timeout="4s": module\.yaml does not take it: 4s is less than two intervals/,
  );
  t.match(now(mirror(`<heart><heartbeat name="a b"/><heartbeat name="lan"/></heart>`)), {
    heartbeat: { lans: ["lan"] },
  });
  t.match(
    now(
      mirror(`<rfs sendtimeout="1m" locktimeout="20"><replicated dir="/a//b/"/><replicated dir="/a"/></rfs>`),
    ),
    {
      replicate: { timeout: "20s", paths: [{ path: "/a/b" }] },
    },
  );
  t.notOk("replicate" in now(mirror(`<rfs/>`)), "nothing replicated");
  t.match(now(mirror(`<service/>`)), { kind: "mirror" });
  t.match(
    yamlOf(
      imported(
        mirror(
          `<errd><proc name="java" class="prim" argregex="a"/><proc name="java" class="prim" argregex="b"/></errd>`,
        ),
      ),
    ),
    { processes: { java: { argumentsRegex: "a" }, java_2: { argumentsRegex: "b" } } },
  );
  t.match(
    yamlOf(
      imported(mirror(`<check><tcp ident="v6" when="prim"><to addr="fd00::1" port="80"/></tcp></check>`)),
    ),
    {
      checkers: { tcp: { v6: { address: "[fd00::1]:80" } } },
    },
  );
  for (const name of [
    "__proto__",
    "constructor",
    "prototype",
    "toString",
    "LD_PRELOAD",
    "SAFEVAR",
    "a b",
    "1a",
    "",
  ])
    t.notOk(
      Object.hasOwn(
        Object(now(mirror(`<user><var name="${name}" value="x"/></user>`))["vars"] ?? {}),
        name,
      ) && name !== "toString",
      name,
    );
  const unknown = reportText(imported(mirror(`<heart colour="red"/><novelty a="1"><b/></novelty>`)));
  t.match(unknown, /<heart> colour="red": unknown here/);
  t.match(unknown, /<novelty>: unknown here, with all in it/);
});

t.test("macros", async (t) => {
  const xml = (macros: string, use: string) =>
    `<safe>${macros}${mirror(`<rfs><replicated dir="${use}"/></rfs>`).slice(6)}`;
  const paths = (text: string) => Object(yamlOf(imported(text))["replicate"] ?? {}).paths;
  t.match(paths(xml(`<macro name="D" value="/srv"/><macro name="E" value="%D%/e"/>`, "%E%/x")), [
    { path: "/srv/e/x" },
  ]);
  t.equal(paths(xml("", "/srv/%HOME%")), undefined);
  t.match(reportText(imported(xml("", "/srv/%HOME%"))), /%HOME% is no macro of this file/);
  let bomb = `<macro name="m0" value="${"x".repeat(100)}"/>`;
  for (let i = 1; i < 40; i++) bomb += `<macro name="m${i}" value="${`%m${i - 1}%`.repeat(10)}"/>`;
  t.throws(() => imported(xml(bomb, "/%m39%")), /its macros make a text longer than 4096/);
});

t.test("files of the package: hooks, what they use, and what is left out", async (t) => {
  const script = "#!/bin/sh\nexit 0\n";
  const names = [
    "start_prim",
    "stop_prim",
    "start_sec",
    "prestart",
    "postconfig",
    "_rfs_begin",
    "config",
    "start_second.ps1",
    "start_both.cmd",
    "tools/lib",
  ];
  const entries = names.map((name) => ({ name: `bin/${name}`, content: script }));
  const more = [
    "conf/modulekey.p12",
    "manifest.xml",
    "web/index.html",
    "safekit/run",
    "module.yaml",
    "hooks/poststop",
  ].map((name) => ({ name, content: "x" }));
  const one = imported(mirror("<user/>"), [...entries, ...more]);
  t.same(
    new Set(one.files.keys()),
    new Set([
      "hooks/config",
      "hooks/prestart",
      "hooks/start_prim",
      "hooks/stop_prim",
      "hooks/transition",
      "module.yaml",
      ...names.map((name) => `safekit/bin/${name}`),
      "safekit/conf/userconfig.xml",
      "safekit/report.txt",
      "safekit/run",
      "safekit/safekit",
      "safekit/variables",
    ]),
  );
  for (const path of ["hooks/start_prim", "safekit/bin/start_prim", "safekit/run", "safekit/safekit"])
    t.equal(one.files.get(path)?.executable, true, path);
  const said = reportText(one);
  t.match(
    said,
    /^bin\/start_both\.cmd: no equivalent: .*a script of Windows: kept; write hooks\/start_both\.ts$/m,
  );
  t.match(said, /^bin\/start_second\.ps1: no equivalent: .*a script of Windows/m);
  t.match(said, /^bin\/config: approximated: hooks\/config: called when a revision is applied/m);
  t.match(said, /^conf\/modulekey\.p12: no equivalent: left out: nodes have certificates of their own$/m);
  t.match(said, /^hooks\/poststop: no equivalent: left out/m);
  const silent = imported(mirror(""), entries);
  t.notOk(silent.files.has("hooks/start_prim"));
  t.match(reportText(silent), /^bin\/start_prim: no equivalent: .*runs no script without <user>/m);
  t.throws(
    () => importPackage(zip([{ name: "userconfig.xml", content: mirror("") }])),
    /holds no conf\/userconfig\.xml/,
  );
});
