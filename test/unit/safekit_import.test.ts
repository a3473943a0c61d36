/**
 * SafeKit packages through the command, as people type it, and their scripts as the hook runner runs them. The compiled binary is what is asked;
 * skipped when there is none (`npm run build`).
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";
import type { HookCall } from "../../hooks/context.ts";
import { stopFollowing } from "../../hooks/output.ts";
import { type HookResult, runHook } from "../../hooks/runner.ts";
import { binary, noBinary, scratch } from "../fixtures/scratch.ts";
import { type ZipEntry, zip } from "../fixtures/zip_writer.ts";

const work = scratch("safekit");
const varDir = join(work, "var");
const outputFile = join(work, "output");
t.teardown(() => stopFollowing(outputFile));

function type(...words: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(binary, ["module", ...words, "--var", varDir], { cwd: work, encoding: "utf8" });
}

const at = (...path: string[]): string => join(varDir, "modules", ...path);

const CONFIGURATION = `<safe><service mode="mirror">
  <rfs><replicated dir="/srv/shop"/></rfs>
  <user><var name="PORT" value="80 80"/></user>
</service></safe>`;

const SCRIPTS: Record<string, string> = {
  start_prim: `#!/bin/sh
safekit printi "port [$PORT] of $SAFEMODULE, called with $*"
safekit printe "watch out"
. "$SAFEUSERBIN/common"
"$SAFE/safekit" -p | grep -c =
[ "$SAFE" = "$HOLDFAST_DIR/safekit" ] && [ -d "$SAFEUSERVAR" ] && [ -f "$SAFEUSERCONF/userconfig.xml" ] && echo places
safekit -r boundcmd 0.2 sleep 5; echo "bound $?"
sleep 60 & until [ "$(cat /proc/$!/comm)" = sleep ]; do sleep 0.01; done
safekit kill -name=sleep -argregex="^sleep 6[0]" -level=test && echo runs
safekit kill -name=sleep -argregex="^sleep 60" -level=9
wait
safekit kill -name=sleep -argregex="^sleep 60" -level=test || echo gone
safekit incloop -i x; echo "incloop $?"
exit 3
`,
  common: `echo "common ran"\n`,
  stop_prim: `#!/bin/sh\necho "stop: $*"\n[ "$1" != force ] || exit 0\nexit 1\n`,
  start_both: `#!/bin/sh\nsafekit stop -i start_both\necho after\n`,
  stop_both: `#!/bin/sh\nexit 7\n`,
  start_second: `echo "no first line: $*"\n`,
  start_sec: `#!/bin/sh\necho "start_sec: $*"\n`,
  stop_sec: `#!/bin/sh\necho "stop_sec: $*"\n`,
};

const packed = (more: readonly ZipEntry[] = []): ZipEntry[] => [
  { name: "conf/userconfig.xml", content: CONFIGURATION },
  ...Object.entries(SCRIPTS).map(([name, content]) => ({ name: `bin/${name}`, content })),
  ...more,
];

function write(name: string, bytes: Buffer): string {
  writeFileSync(join(work, name), bytes);
  return name;
}

async function hook(
  name: string,
  changes: Partial<HookCall> = {},
): Promise<{ result: HookResult; lines: string[] }> {
  const lines: string[] = [];
  const directory = at("shop");
  const context: HookCall = {
    module: "shop",
    node: "n1",
    kind: "mirror",
    hook: name,
    action: "start",
    from: "WAIT",
    to: "ALONE",
    cause: "a test",
    force: false,
    attempt: 1,
    vars: { PORT: "80 80" },
    dir: directory,
    peers: [],
    ...changes,
  };
  const result = await runHook({
    file: join(directory, "hooks", name),
    kind: "executable",
    context,
    timeoutMs: 20_000,
    outputFile,
    onOutput: (line) => lines.push(line),
    env: { HOLDFAST_VAR: varDir },
  });
  return { result, lines };
}

t.test("a package becomes a module that check takes", { skip: noBinary }, async (t) => {
  const made = type("import", write("shop.safe", zip(packed())));
  t.match(made, {
    status: 0,
    stdout:
      /conf\/userconfig\.xml:2: translated: <replicated> dir="\/srv\/shop": replicate\.paths\[0\]\.path: \/srv\/shop\n/,
  });
  t.match(
    made.stdout,
    /made .*shop from .*shop\.safe: \d+ translated, \d+ approximated, \d+ without an equivalent/,
  );
  t.match(
    readFileSync(at("shop/safekit/report.txt"), "utf8"),
    /bin\/stop_prim: translated: hooks\/stop_prim/,
  );
  t.match(type("check", "shop"), {
    status: 0,
    stdout: /shop: good/,
    stderr: /^[^\n]*start_second:1:1: there is no stop_second hook[^\n]*\n$/,
  });
  t.ok(statSync(at("shop/safekit/safekit")).mode & 0o100);
  t.match(type("history", "shop"), { status: 0, stdout: /Imported from shop\.safe/ });
  t.match(type("import", "shop.safe"), { status: 2, stderr: /is there already/ });
  const json = JSON.parse(type("import", "shop.safe", "--as", "shop2", "--json").stdout);
  t.match(json, { status: 0, name: "shop2", counts: { translated: Number } });
  t.match(json.report[0], {
    file: "conf/userconfig.xml",
    line: 1,
    what: /<service> mode="mirror"/,
    verdict: "translated",
    to: "kind",
  });
});

t.test(
  "a package that Debian's zip has made",
  { skip: noBinary || (Bun.which("zip") ? false : "there is no zip") },
  async (t) => {
    for (const { name, content } of packed()) {
      mkdirSync(dirname(join(work, "tree", name)), { recursive: true });
      writeFileSync(join(work, "tree", name), content ?? "", { mode: 0o755 });
    }
    const zipped = spawnSync("zip", ["-qr", "../debian.safe", "."], {
      cwd: join(work, "tree"),
      encoding: "utf8",
    });
    t.equal(zipped.status, 0, zipped.stderr);
    t.match(type("import", "debian.safe"), { status: 0 });
    t.same(readFileSync(at("debian/module.yaml")), readFileSync(at("shop/module.yaml")));
  },
);

t.test(
  "scripts run as hooks, and find the command and the variables that they know",
  { skip: noBinary },
  async (t) => {
    const started = await hook("start_prim");
    t.match(started.result, { ok: true }, "a start script's exit status does not count");
    t.strictSame(started.lines, [
      "port [80 80] of shop, called with WAIT ALONE start",
      "error: watch out",
      "common ran",
      "7",
      "places",
      "bound 2",
      "runs",
      "gone",
      "safekit: incloop has no equivalent in Holdfast: Holdfast counts by itself: maxLoop",
      "incloop 2",
      "warning: start_prim ended with exit status 3, which does not count in a module made from a SafeKit package",
    ]);
    const stopped = await hook("stop_prim", { from: "PRIM", to: "WAIT", action: "wait" });
    t.match(stopped, {
      result: { ok: true },
      lines: [
        "stop: PRIM WAIT stopwait",
        "warning: stop_prim ended with exit status 1; now with force",
        "stop: force PRIM WAIT stopwait",
      ],
    });
    t.strictSame((await hook("stop_prim", { from: "PRIM", to: "WAIT", action: "swap", force: true })).lines, [
      "stop: force PRIM WAIT stop",
    ]);
    const gaveUp = await hook("start_both");
    t.match(
      gaveUp.result,
      { ok: false, exitCode: 1 },
      "safekit stop in a start script is a start that failed",
    );
    t.match(gaveUp.lines, [/noted/, "after", /start_both asked for: safekit stop -i start_both/]);
    t.match(
      (await hook("stop_both")).result,
      { ok: false, exitCode: 7 },
      "a stop script that fails with force has failed",
    );
    t.strictSame((await hook("start_second", { to: "SECOND" })).lines, ["no first line: WAIT SECOND start"]);
    t.strictSame((await hook("transition", { to: "SECOND" })).lines, ["start_sec: WAIT SECOND start"]);
    t.strictSame((await hook("transition", { from: "SECOND", to: "ALONE", action: "takeover" })).lines, []);
    t.strictSame((await hook("transition", { from: "ALONE", to: "PRIM" })).lines, [
      "stop_sec: ALONE PRIM start",
      "stop_sec: force ALONE PRIM start",
    ]);
    t.strictSame(
      readdirSync(join(varDir, "state/shop/safekit/modules/shop")),
      [],
      "nothing is left of what scripts asked for",
    );
  },
);

const HOSTILE: Record<string, [ZipEntry[] | Buffer, RegExp]> = {
  path: [packed([{ name: "bin/../../../../escaped" }]), /leaves the package/],
  link: [
    packed([{ name: "bin/link", content: "/etc", mode: 0o120777 }, { name: "bin/link2" }]),
    /a symbolic link/,
  ],
  bomb: [packed([{ name: "bin/bomb", content: Buffer.alloc(8 * 1024 * 1024) }]), /a zip bomb/],
  git: [
    packed([{ name: "bin/.git/hooks/post-checkout", content: "#!/bin/sh\n", mode: 0o100755 }]),
    /belongs to .* version control/,
  ],
  entity: [
    [{ name: "conf/userconfig.xml", content: `<!DOCTYPE safe [<!ENTITY a "b">]>${CONFIGURATION}` }],
    /userconfig\.xml:1: a document type/,
  ],
};

t.test("hostile packages are refused whole, and nothing is left", { skip: noBinary }, async (t) => {
  const before = readdirSync(at(""));
  for (const [name, [content, says]] of Object.entries(HOSTILE)) {
    write(`${name}.safe`, Buffer.isBuffer(content) ? content : zip(content));
    const refused = type("import", `${name}.safe`);
    t.match(refused, { status: 2, stdout: "", stderr: says }, name);
    t.match(refused.stderr, /^holdfast: [^\n]+\n$/, "one line says it");
  }
  t.same(readdirSync(at("")), before);
  t.notOk(existsSync(join(work, "escaped")) || existsSync(join(varDir, "escaped")));
  writeFileSync(join(work, "not.safe"), "hello");
  t.match(type("import", "not.safe"), { status: 2, stderr: /it is no git bundle/ });
});
