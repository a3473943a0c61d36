/** userconfig.xml to module.yaml: every element and attribute, and XML that is refused whole. */
import { readFileSync } from "node:fs";
// `@std/yaml` is an alias of the npm package yaml (package.json).
import { parse } from "@std/yaml";
import t from "tap";
import { formatLine, type Imported, importPackage, PackageInvalid } from "../../modules/safekit/safekit.ts";
import { HOLDERS, ROWS } from "../../modules/safekit/table.ts";
import { readXml } from "../../modules/safekit/xml.ts";
import { moduleSchema } from "../../modules/schema.ts";
import { readYaml, validateYaml } from "../../modules/yaml_document.ts";
import { type ZipEntry, zip } from "../fixtures/zip_writer.ts";

const fixture = (name: string): string =>
  readFileSync(new URL(`../fixtures/safekit/${name}.xml`, import.meta.url), "utf8");

function imported(xml: string, more: readonly ZipEntry[] = []): Imported {
  return importPackage(zip([{ name: "conf/userconfig.xml", content: xml, stored: true }, ...more]));
}

function yamlText({ files }: Imported): string {
  return files.get("module.yaml")!.content.toString();
}

function reportText({ report }: Imported): string {
  return report.map(formatLine).join("\n");
}

/** The smallest mirror around some elements. */
const mirror = (inside: string, attributes = ""): string =>
  `<safe><service mode="mirror" ${attributes}>${inside}</service></safe>`;

/** What stands in module.yaml, or in its comments, as a value. */
function yamlOf(one: Imported): { now: Record<string, unknown>; later: Record<string, unknown> } {
  const text = yamlText(one);
  const comments = text.slice(text.indexOf("does not do yet:")).match(/^# .*/gm) ?? [];
  return { now: parse(text), later: parse(comments.map((line) => line.slice(2)).join("\n")) ?? {} };
}

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
  const { now, later } = yamlOf(imported(fixture("mirror")));
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
  t.strictSame(later, {});
  const whole = validateYaml(readYaml(JSON.stringify({ ...now, ...later }), "m"), moduleSchema);
  t.strictSame(whole.problems, [], "the schema takes the comments too");
});

t.test("a farm", async (t) => {
  const { now, later } = yamlOf(imported(fixture("farm")));
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
  t.strictSame(later, {});
  const invisible = yamlOf(imported(fixture("farm").replace("vmac_directed", "vmac_invisible")));
  const waiting = new Set(Object.keys(invisible.later));
  t.strictSame(waiting, new Set(["loadBalancing", "virtualIps"]), "what is not there yet");
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
    `conf/userconfig.xml:70: no equivalent: <failover> "gone: if (tcp.mail == down) then stop();": module.yaml does not take it: nothing checks tcp.mail: there is tcp.db, ping.gateway, interface.eth0, ip.vip_10_77_0_100, ip.vip_10_77_0_101, ip.r_10_77_0_100, module.web, process.shop_d, process.db, process.cron`,
  ])
    t.ok(lines.includes(line), line);
  const { counts, report } = imported(fixture("mirror"));
  t.equal(counts.translated + counts.approximated + counts.none, report.length);
});

t.test("values at the edge", async (t) => {
  const now = (xml: string) => yamlOf(imported(xml)).now;
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
    ).now,
    { processes: { java: { argumentsRegex: "a" }, java_2: { argumentsRegex: "b" } } },
  );
  t.match(
    yamlOf(
      imported(mirror(`<check><tcp ident="v6" when="prim"><to addr="fd00::1" port="80"/></tcp></check>`)),
    ).now,
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

t.test("values that try to be more than values stay values", async (t) => {
  const value = "x&#10;kind: farm&#10;# y&#10;evil: 1";
  const { now } = yamlOf(
    imported(
      mirror(
        `<user><var name="A" value="${value}"/></user><errd><proc name="a" class="prim" argregex="${value}"/></errd>`,
      ),
    ),
  );
  t.match(now, { kind: "mirror" });
  t.notOk("evil" in now);
  const shown = reportText(imported(mirror(`<heart colour="\u009b31m\u202e"/>`)));
  t.notMatch(shown, /[\u009b\u202e]/, "a terminal obeys nothing of it");
});

t.test("macros", async (t) => {
  const xml = (macros: string, use: string) =>
    `<safe>${macros}${mirror(`<rfs><replicated dir="${use}"/></rfs>`).slice(6)}`;
  const paths = (text: string) => Object(yamlOf(imported(text)).now["replicate"] ?? {}).paths;
  t.match(paths(xml(`<macro name="D" value="/srv"/><macro name="E" value="%D%/e"/>`, "%E%/x")), [
    { path: "/srv/e/x" },
  ]);
  t.equal(paths(xml("", "/srv/%HOME%")), undefined);
  t.match(reportText(imported(xml("", "/srv/%HOME%"))), /%HOME% is no macro of this file/);
  let bomb = `<macro name="m0" value="${"x".repeat(100)}"/>`;
  for (let i = 1; i < 40; i++) bomb += `<macro name="m${i}" value="${`%m${i - 1}%`.repeat(10)}"/>`;
  t.throws(() => imported(xml(bomb, "/%m39%")), /its macros make a text longer than 4096/);
});

t.test("whatever stands in an attribute, the result is a module.yaml that the schema takes", async (t) => {
  const values = [
    "",
    "-1",
    "99999999",
    "a b/../c",
    "&quot;&#10;x: y",
    "__proto__",
    "on",
    "255.255.255.0",
    "(((",
    "0",
  ];
  let made = 0;
  let turn = 0;
  for (const name of ["mirror", "farm"]) {
    const xml = fixture(name);
    for (const { index, 0: all, 1: attribute } of xml.matchAll(/ ([a-z_]+)="[^"]*"(?!\?)/g))
      for (const value of [values[turn++ % values.length]!]) {
        const changed = `${xml.slice(0, index)} ${attribute}="${value}"${xml.slice(index + all.length)}`;
        try {
          const text = yamlText(imported(changed));
          const { problems } = validateYaml(readYaml(text, "m"), moduleSchema);
          if (problems.length > 0) t.fail(`${attribute}="${value}": ${JSON.stringify(problems)}\n${text}`);
          made++;
        } catch (error) {
          if (!(error instanceof PackageInvalid)) throw error;
        }
      }
  }
  t.ok(made > 100, `${made} made`);
});

t.test("many bad values take no time to speak of", async (t) => {
  const many = Array.from({ length: 4500 }, (_, i) => `<tcp ident="t${i}" when="x"/>`).join("");
  t.equal(Object.keys(yamlOf(imported(mirror(`<check>${many}</check>`))).later).length, 0);
});

const REFUSED: Record<string, [xml: string, says: RegExp]> = {
  "an entity": [
    `<!DOCTYPE safe [<!ENTITY x "y">]><safe><service boot="&x;"/></safe>`,
    /:1: a document type that declares something/,
  ],
  "an outer entity": [`<!DOCTYPE safe [<!ENTITY x SYSTEM "file:///etc/passwd">]><safe/>`, /document type/],
  "an outer document type": [`<!DOCTYPE safe SYSTEM "http://example.com/x.dtd"><safe/>`, /document type/],
  "a billion laughs": [
    `<!DOCTYPE safe [<!ENTITY a "ha">${Array.from({ length: 30 }, (_, i) => `<!ENTITY a${i} "${"&a;".repeat(10)}">`).join("")}]><safe>&a29;</safe>`,
    /document type/,
  ],
  "an entity that nobody defined": [
    `<safe>\n<service boot="&boot;"/></safe>`,
    /:2: not valid XML: undefined entity/,
  ],
  "deep nesting": ["<a>".repeat(100_000), /nest deeper than 24/],
  "huge counts": [`<safe><service>${"<b/>".repeat(6000)}</service></safe>`, /more than 5000 elements/],
  "many attributes": [
    `<safe ${Array.from({ length: 70 }, (_, i) => `a${i}="1"`).join(" ")}/>`,
    /more than 64 attributes/,
  ],
  "an attribute twice": [
    `<safe><service boot="on" boot="off"/></safe>`,
    /not valid XML: duplicate attribute|is there twice/,
  ],
  "a tag that does not close": ["<safe><service></safe>", /not valid XML/],
  "two roots": ["<safe><service/></safe><safe/>", /not valid XML/],
  "no XML": ["kind: mirror", /not valid XML/],
  nothing: ["", /not valid XML|no element/],
  "a control character": ["<safe a='\u0001'/>", /not valid XML/],
  "too much": [`<safe>${" ".repeat(1024 * 1024)}</safe>`, /larger than 1 MiB/],
  "another root": ["<cluster/>", /outermost element is cluster, not safe/],
  "no service": ["<safe/>", /0 <service> elements/],
  "two services": ["<safe><service/><service/></safe>", /2 <service> elements/],
  "an unknown mode": [
    `<safe>\n<service mode="ring"/></safe>`,
    /:2: mode is "ring", not mirror, farm or light/,
  ],
  "an unknown encoding": [`<?xml version="1.0" encoding="utf-7"?><safe/>`, /encoding "utf-7" is not read/],
};
for (const [what, [xml, says]] of Object.entries(REFUSED))
  t.test(`refused: ${what}`, async (t) => {
    try {
      imported(xml);
      t.fail("it was taken");
    } catch (error) {
      t.ok(error instanceof PackageInvalid, String(error));
      t.match(String(error), says);
    }
  });

t.test("encodings", async (t) => {
  const text = (encoding: string) =>
    `<?xml version="1.0" encoding="${encoding}"?><safe><service><user><var name="A" value="\u00e9"/></user></service></safe>`;
  const vars = (content: Buffer) =>
    yamlOf(importPackage(zip([{ name: "conf/userconfig.xml", content }]))).now["vars"];
  t.strictSame(vars(Buffer.from(text("ISO-8859-1"), "latin1")), { A: "\u00e9" });
  t.strictSame(vars(Buffer.from(`\ufeff${text("utf-8")}`)), { A: "\u00e9" });
  t.throws(() => vars(Buffer.from(text("utf-8"), "latin1")), /is not utf-8/);
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
    [...one.files.keys()].sort(),
    [
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
    ].sort(),
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
