/**
 * What hooks ask of Windows, as processes: powershell.exe, sc.exe and taskkill.exe are stand-ins, which take and tell what Microsoft documents.
 */
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { powershell, service } from "../../hooks/sdk/mod.ts";
import { scratch } from "../fixtures/scratch.ts";

const work = scratch("windows");
function program(name: string, source: string): void {
  writeFileSync(join(work, name), `#!${process.execPath}\nconst given = process.argv.slice(2);\n${source}`);
  chmodSync(join(work, name), 0o755);
}
program(
  "powershell.exe",
  `const script = Buffer.from(given.at(-1), "base64").toString("utf16le");
console.log(JSON.stringify({ flags: given.slice(0, -1), script }));
if (script.includes("Stop-VM")) {
  console.error("Stop-VM : no such machine");
  process.exit(1);
}
`,
);
/** A service's state is a file. What begins or ends is seen doing so once; the service "deaf" never ends. The label follows the system's language. */
const SERVICES = `import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
const [verb, name] = given;
const file = "${work}/" + name;
appendFileSync("${work}/asked", verb + " " + name + "\\n");
if (!existsSync(file)) {
  console.log("[SC] EnumQueryServicesStatus:OpenService FAILED 1060:");
  process.exit(1060 & 255);
}
const words = { 1: "STOPPED", 2: "START_PENDING", 3: "STOP_PENDING", 4: "RUNNING" };
let state = readFileSync(file, "utf8");
if (verb === "start") state = "2";
if (verb === "stop") state = "3";
console.log("SERVICE_NAME: " + name + "\\n        TYP                : 10  WIN32_OWN_PROCESS\\n        STATUS             : " + state + "  " + words[state] + " \\n                                (STOPPABLE, NOT_PAUSABLE)\\n        PID                : 4711");
if (verb === "query" && state === "2") state = "4";
if (verb === "query" && state === "3" && name !== "deaf") state = "1";
writeFileSync(file, state);
`;
program("sc.exe", SERVICES);
program(
  "taskkill.exe",
  `require("node:fs").writeFileSync("${work}/deaf", given.join(" ") === "/F /T /PID 4711" ? "1" : "4");\n`,
);
const PATH = `${work}:${process.env["PATH"]}`;

t.test("a line arrives whole, its values quoted, and a failing cmdlet is a failure", async (t) => {
  const name = "Büro's ‘vm’ $(rm) `n\"";
  const given = (await powershell`
    Get-VM -Name ${name}
    Get-VM ${["a", "b c"]}`
    .env({ PATH })
    .json()) as { flags: string[]; script: string };
  t.equal(given.flags.at(-1), "-EncodedCommand");
  t.ok(given.flags.includes("-NonInteractive"));
  const [prelude, first, second] = given.script.split("\n");
  t.match(prelude, /^\$ErrorActionPreference = 'Stop';/);
  t.equal(first, "Get-VM -Name 'Büro''s ‘‘vm’’ $(rm) `n\"'");
  t.equal(second?.trim(), "Get-VM @('a', 'b c')");
});

t.test("the error says what PowerShell said", async (t) => {
  const failing = powershell`Get-VM | Stop-VM`.env({ PATH }).quiet();
  await t.rejects(
    Promise.resolve(failing),
    /`Get-VM \| Stop-VM` failed with exit status 1: Stop-VM : no such machine/,
  );
  t.throws(() => powershell`Get-VM ${"a\0b"}`, /NUL/);
});

t.test("a Windows service is started, stopped, and killed where it does not stop", async (t) => {
  const asked = () => (existsSync(join(work, "asked")) ? readFileSync(join(work, "asked"), "utf8") : "");
  const [platform, path] = [process.platform, process.env["PATH"]];
  t.teardown(() => {
    Object.defineProperty(process, "platform", { value: platform });
    process.env["PATH"] = path;
  });
  Object.defineProperty(process, "platform", { value: "win32" });
  process.env["PATH"] = PATH;
  for (const name of ["shop", "deaf"]) writeFileSync(join(work, name), "1");
  const shop = service("shop", { timeout: "5s" });
  t.equal(await shop.isActive(), false);
  await shop.start();
  t.equal(await shop.status(), "active");
  await shop.start();
  await shop.restart();
  await shop.stop();
  await shop.stop();
  t.equal(await shop.status(), "inactive");
  t.same(asked().match(/^(start|stop) .*$/gm), ["start shop", "stop shop", "start shop", "stop shop"]);
  const deaf = service("deaf", { timeout: "1500ms" });
  await deaf.start();
  await t.rejects(deaf.stop(), { message: /waited 1500ms for deaf to be inactive/ });
  await deaf.stop({ force: true });
  t.equal(await deaf.status(), "inactive");
  t.equal(await service("none").status(), "unknown");
  await t.rejects(service("none").start(), {
    message: /sc\.exe start none failed .*OpenService FAILED 1060/,
  });
});
