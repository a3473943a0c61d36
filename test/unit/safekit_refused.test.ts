/** userconfig.xml that is hostile or odd: refused whole, or a module.yaml that the schema takes; and the encodings it may have. */
import t from "tap";
import { importPackage, PackageInvalid } from "../../modules/safekit/safekit.ts";
import { moduleSchema } from "../../modules/schema.ts";
import { readYaml, validateYaml } from "../../modules/yaml_document.ts";
import { fixture, imported, mirror, reportText, yamlOf, yamlText } from "../fixtures/safekit/imported.ts";
import { zip } from "../fixtures/zip_writer.ts";

t.test("values that try to be more than values stay values", async (t) => {
  const value = "x&#10;kind: farm&#10;# y&#10;evil: 1";
  const now = yamlOf(
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
  t.notOk(yamlOf(imported(mirror(`<check>${many}</check>`)))["checkers"]);
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
    yamlOf(importPackage(zip([{ name: "conf/userconfig.xml", content }])))["vars"];
  t.strictSame(vars(Buffer.from(text("ISO-8859-1"), "latin1")), { A: "\u00e9" });
  t.strictSame(vars(Buffer.from(`\ufeff${text("utf-8")}`)), { A: "\u00e9" });
  t.throws(() => vars(Buffer.from(text("utf-8"), "latin1")), /is not utf-8/);
});
