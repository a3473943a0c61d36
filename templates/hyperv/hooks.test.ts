/**
 * What the hooks ask of Hyper-V, on a node that is made up: `holdfast module test NAME` runs this, on any system.
 */
import { assert, assertEquals, assertMatch, assertRejects, FakeNode } from "holdfast/testing";
import checker from "./checkers/machine.ts";
import prestart from "./hooks/prestart.ts";
import startPrim from "./hooks/start_prim.ts";
import stopPrim from "./hooks/stop_prim.ts";

const DIRECTORY = "C:\\HyperV\\vm1";
const ID = "5ae40946-3a98-428e-8c83-081a3c6bd18c";

/** A Hyper-V that answers as Microsoft documents it; it knows the machine in this state, or not at all. */
function hyperV(
  state: string | null,
  { path = DIRECTORY, files = 1, disk = `${DIRECTORY}\\vm1.vhdx`, heartbeat = "NoContact" } = {},
) {
  let now = state;
  const becomes = (next: string | null) => () => {
    now = next;
    return "";
  };
  const told: string[] = [];
  const tell = (what: string, then: () => string) => () => {
    told.push(what);
    return then();
  };
  const node = new FakeNode({
    module: "vm",
    vars: { vm: "vm1", directory: DIRECTORY, shutdown: "5m", heartbeat: "no" },
    commands: {
      "ConvertTo-Json * Where-Object Name -eq 'vm1' *": () =>
        JSON.stringify(now === null ? [] : [{ id: ID, state: now, heartbeat, path }]),
      "New-Item * 'C:\\HyperV\\vm1\\Kept by Holdfast' * Copy-Item * Remove-VM -Force": tell(
        "forget",
        becomes(null),
      ),
      "if (Test-Path 'C:\\HyperV\\vm1\\Kept by Holdfast') *": tell("restore", () => ""),
      "Get-ChildItem -Path 'C:\\HyperV\\vm1\\Virtual Machines' *": `${`${DIRECTORY}\\Virtual Machines\\${ID}.vmcx\r\n`.repeat(files)}`,
      [`Import-VM -Path '${DIRECTORY}\\Virtual Machines\\${ID}.vmcx' *`]: tell("import", becomes("Off")),
      "Get-VM * Get-VMHardDiskDrive *": `${disk}\r\n`,
      "Get-VM * Set-VM -AutomaticStartAction Nothing *": tell("fit", () => ""),
      [`Get-VM -Id '${ID}' | Start-VM`]: tell("start", becomes("Running")),
      [`Get-VM -Id '${ID}' | Stop-VM -Force`]: tell("shut down", becomes("Off")),
      [`Get-VM -Id '${ID}' | Stop-VM -TurnOff -Force`]: tell("turn off", becomes("Off")),
    },
  });
  return { node, told };
}

Deno.test("the machine is registered in place, kept from starting by itself, and started", async () => {
  const { node, told } = hyperV(null);
  await node.run(startPrim);
  assertEquals(told, ["restore", "import", "fit", "start"]);
});

Deno.test("what this node remembers of an earlier time is forgotten first; a machine that runs is left alone", async () => {
  const old = hyperV("Off");
  await old.node.run(startPrim);
  assertEquals(old.told, ["restore", "forget", "restore", "import", "fit", "start"]);
  const running = hyperV("Running");
  await running.node.run(startPrim);
  assertEquals(running.told, ["restore"]);
  const paused = hyperV("Paused");
  await paused.node.run(startPrim);
  assertEquals(paused.told.slice(1, 3), ["turn off", "forget"]);
});

Deno.test("a machine, a disk or a configuration in the wrong place is refused with what to do", async () => {
  const elsewhere = hyperV("Off", { path: "D:\\vm1" });
  await assertRejects(() => elsewhere.node.run(startPrim), /Move-VMStorage/);
  assertEquals(elsewhere.told, ["restore"]);
  await assertRejects(
    () => hyperV(null, { disk: "D:\\a.vhdx" }).node.run(startPrim),
    /disks are not in .*D:\\a/,
  );
  await assertRejects(() => hyperV(null, { files: 2 }).node.run(startPrim), /holds 2 configurations/);
  await assertRejects(() => hyperV(null, { files: 0 }).node.run(startPrim), /holds 0 configurations/);
});

Deno.test("a stop shuts down, a forced one turns off; each leaves the files and takes the registration", async () => {
  const calm = hyperV("Running");
  await calm.node.run(stopPrim, { hook: "stop_prim" });
  await calm.node.run(stopPrim, { hook: "stop_prim", force: true });
  assertEquals(calm.told, ["shut down", "forget", "restore"]);
  const kept = calm.node.commands.find((line) => line.startsWith("New-Item"))!;
  assertMatch(kept, /Copy-Item .*5ae40946-3a98-428e-8c83-081a3c6bd18c\.\*'.*\n.*Remove-VM/);
  const forced = hyperV("Running");
  await forced.node.run(stopPrim, { hook: "stop_prim", force: true });
  assertEquals(forced.told, ["turn off", "forget", "restore"]);
});

Deno.test("before the start: ours is turned off, another's is not touched", async () => {
  const left = hyperV("Running");
  await left.node.run(prestart, { hook: "prestart" });
  assertEquals(left.told, ["turn off"]);
  const foreign = hyperV("Running", { path: "C:\\HyperV\\vm10" });
  await assertRejects(() => foreign.node.run(prestart, { hook: "prestart" }), /shut it down, then start/);
  assertEquals(foreign.told, []);
});

Deno.test("the checker sees a machine that is gone, off, or not heard", async () => {
  assertEquals((await hyperV("Running").node.check(checker)).state, "up");
  assertEquals((await hyperV(null).node.check(checker)).detail, "Hyper-V does not know vm1");
  assertEquals((await hyperV("Paused").node.check(checker)).detail, "vm1 is Paused");
  const vars = { vm: "vm1", directory: DIRECTORY, heartbeat: "yes" };
  assertEquals(
    (await hyperV("Running").node.check(checker, { vars })).detail,
    "the heartbeat of vm1 is NoContact",
  );
  const heard = hyperV("Running", { heartbeat: "OkApplicationsUnknown" });
  assert((await heard.node.check(checker, { vars })).state === "up");
});
