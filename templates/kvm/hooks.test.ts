/**
 * What the hooks ask of libvirt, on a node that is made up: `holdfast module test NAME` runs this.
 */
import { assert, assertEquals, assertMatch, assertRejects, FakeNode } from "holdfast/testing";
import checker from "./checkers/guest.ts";
import prestart from "./hooks/prestart.ts";
import startPrim from "./hooks/start_prim.ts";
import stopPrim from "./hooks/stop_prim.ts";

const VIRSH = "virsh --quiet --connect qemu:///system";

/** A definition without fault, of a guest whose disk is in this directory. */
const definition = (directory: string) => `<domain type='kvm'>
  <name>vm1</name>
  <uuid>11111111-2222-3333-4444-555555555555</uuid>
  <os firmware='efi'><type>hvm</type><nvram>${directory}/nvram.fd</nvram></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/><source file='${directory}/disk.qcow2'/></disk>
    <disk type='file' device='cdrom'><source file='/iso/debian.iso'/><readonly/></disk>
    <interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/></interface>
  </devices>
</domain>`;

/** A libvirt that knows the guest in this state, or not at all. */
function libvirt(directory: string, state: string | null, { ours = true, agent = true, ends = true } = {}) {
  let [now, marked] = [state, ours];
  const node = new FakeNode({
    module: "vm",
    vars: { domain: "vm1", directory, shutdown: "100ms", agent: "no" },
    commands: {
      [`${VIRSH} list --all --name`]: () => (now === null ? "other\n\n" : "other\nvm1\n\n"),
      [`${VIRSH} domstate vm1 --reason`]: () => `${now} (booted)\n`,
      [`${VIRSH} metadata vm1 urn:holdfast:module --config`]: () =>
        marked ? '<module name="vm"/>\n' : { exitCode: 1 },
      [`${VIRSH} metadata vm1 * --set *`]: () => {
        marked = true;
        return "";
      },
      [`${VIRSH} define *`]: () => {
        now ??= "shut off";
        return "";
      },
      [`${VIRSH} start vm1 --force-boot`]: () => {
        now = "running";
        return "";
      },
      [`${VIRSH} shutdown vm1`]: () => {
        if (ends) now = "shut off";
        return "";
      },
      [`${VIRSH} destroy vm1`]: () => {
        now = "shut off";
        return "";
      },
      [`${VIRSH} undefine vm1 *`]: () => {
        now = null;
        return "";
      },
      [`${VIRSH} dumpxml vm1 --inactive --security-info`]: definition(directory),
      [`${VIRSH} qemu-agent-command *`]: { exitCode: agent ? 0 : 1 },
      [`${VIRSH} *`]: "",
      "cat /run/libvirt/qemu/vm1.pid": "4711",
      "sync *": "",
    },
  });
  const asked = (verb: string) => node.commands.filter((line) => line.startsWith(`${VIRSH} ${verb} `));
  return { node, asked };
}

async function inScratch(xml: (directory: string) => string, work: (directory: string) => Promise<void>) {
  const directory = await Deno.makeTempDir();
  try {
    const text = xml(directory);
    if (text !== "") await Deno.writeTextFile(`${directory}/domain.xml`, text);
    await work(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("the guest is defined, marked, kept from starting by itself, and started without a saved state", () =>
  inScratch(definition, async (directory) => {
    const { node } = libvirt(directory, null);
    await node.run(startPrim);
    const verbs = node.commands.map((line) => line.replace(`${VIRSH} `, ""));
    assertEquals(verbs.slice(1), [
      `define ${directory}/domain.xml`,
      `metadata vm1 urn:holdfast:module --key holdfast --set '<module name="vm"/>' --config`,
      "autostart vm1 --disable",
      "start vm1 --force-boot",
      "cat /run/libvirt/qemu/vm1.pid",
    ]);
    assertEquals(node.adopted, [4711]);
  }));

Deno.test("the first time, the definition comes from libvirt; without either, the start says what to do", () =>
  inScratch(
    () => "",
    async (directory) => {
      await assertRejects(() => libvirt(directory, null).node.run(startPrim), /put its definition there/);
      await libvirt(directory, "shut off", { ours: false }).node.run(startPrim);
      assertMatch(await Deno.readTextFile(`${directory}/domain.xml`), /^<domain/);
    },
  ));

Deno.test("a guest that runs is left alone; a paused one that was ours is started anew; another's is not touched", () =>
  inScratch(definition, async (directory) => {
    const running = libvirt(directory, "running");
    await running.node.run(startPrim);
    assertEquals([running.asked("define"), running.node.adopted], [[], [4711]]);
    const paused = libvirt(directory, "paused");
    await paused.node.run(startPrim);
    assertEquals([paused.asked("destroy").length, paused.asked("start").length], [1, 1]);
    const foreign = libvirt(directory, "running", { ours: false });
    await assertRejects(() => foreign.node.run(startPrim), /started here by somebody else/);
  }));

Deno.test("a definition that would lose data or be another machine is refused, with all that is wrong", async () => {
  const bad = (directory: string) =>
    definition("/elsewhere")
      .replace("cache='none'", "cache='unsafe'")
      .replace(/<mac[^>]*>/, "")
      .replace(/<uuid>.*<\/uuid>/, "")
      .replace("/elsewhere/nvram.fd", `${directory}/nvram.fd`);
  await inScratch(bad, async (directory) => {
    const { node, asked } = libvirt(directory, null);
    const error = await assertRejects(() => node.run(startPrim));
    for (const pattern of [/no <uuid>/, /disk\.qcow2 is not in/, /cache="unsafe" loses/, /no <mac address/])
      assertMatch(error.message, pattern);
    assertEquals(asked("define"), []);
  });
  await inScratch(
    (directory) =>
      definition(directory)
        .replace(/<nvram>.*<\/nvram>/, "")
        .replace("vm1", "vm2")
        .replace(/<source file=[^>]*qcow2'/, "<source dev='/dev/vg/vm1'"),
    async (directory) => {
      const error = await assertRejects(() => libvirt(directory, null).node.run(startPrim));
      assertMatch(error.message, /it is of vm2, and vars.domain is vm1/);
      assertMatch(error.message, /a guest with UEFI needs <nvram>/);
      assertMatch(error.message, /\/dev\/vg\/vm1 is not a file/);
    },
  );
});

Deno.test("a stop is a shutdown and takes the definition away, but no disk and no NVRAM", async () => {
  const { node, asked } = libvirt("/srv/vm1", "running");
  await node.run(stopPrim, { hook: "stop_prim" });
  assertEquals(asked("shutdown").length, 1);
  assertEquals(asked("undefine"), [
    `${VIRSH} undefine vm1 --managed-save --snapshots-metadata --checkpoints-metadata --keep-nvram`,
  ]);
  await node.run(stopPrim, { hook: "stop_prim" });
  await node.run(stopPrim, { hook: "stop_prim", force: true });
  assertEquals(asked("undefine").length, 1);
});

Deno.test("a guest that does not shut down fails the stop; a forced one, or one that is paused, is destroyed", async () => {
  const stubborn = libvirt("/srv/vm1", "running", { ends: false });
  await assertRejects(() => stubborn.node.run(stopPrim, { hook: "stop_prim" }), /vm1 to shut down/);
  assertEquals(stubborn.asked("destroy"), []);
  await stubborn.node.run(stopPrim, { hook: "stop_prim", force: true });
  assertEquals([stubborn.asked("destroy").length, stubborn.asked("undefine").length], [1, 1]);
  const paused = libvirt("/srv/vm1", "paused");
  await paused.node.run(stopPrim, { hook: "stop_prim" });
  assertEquals([paused.asked("shutdown").length, paused.asked("destroy").length], [0, 1]);
});

Deno.test("before the start: what is left of ours goes, what is another's stays", async () => {
  const left = libvirt("/srv/vm1", "running");
  await left.node.run(prestart, { hook: "prestart" });
  assertEquals([left.asked("destroy").length, left.asked("undefine").length], [1, 1]);
  const foreign = libvirt("/srv/vm1", "running", { ours: false });
  await assertRejects(
    () => foreign.node.run(prestart, { hook: "prestart" }),
    /not this module that started it/,
  );
  const defined = libvirt("/srv/vm1", "shut off", { ours: false });
  await defined.node.run(prestart, { hook: "prestart" });
  assertEquals(defined.asked("undefine"), []);
});

Deno.test("a libvirt that does not answer is no reason to restart a guest that lives", async () => {
  const check = (alive: boolean) =>
    new FakeNode({
      vars: { domain: "vm1", directory: "/srv/vm1", agent: "no" },
      commands: {
        [`${VIRSH} *`]: { exitCode: 1, stderr: "error: failed to connect to the hypervisor" },
        "cat /run/libvirt/qemu/vm1.pid": "4711",
        "grep * guest=vm1, /proc/4711/cmdline": { exitCode: alive ? 0 : 2 },
      },
    }).check(checker);
  assertEquals((await check(true)).state, "up");
  assertMatch((await check(true)).detail, /its process lives.*failed to connect/);
  assertEquals((await check(false)).state, "down");
});

Deno.test("the checker sees a guest that is gone, paused, or does not answer", async () => {
  const check = (state: string | null, vars = {}, agent = true) => {
    const { node } = libvirt("/srv/vm1", state, { agent });
    return node.check(checker, { vars: { domain: "vm1", directory: "/srv/vm1", agent: "no", ...vars } });
  };
  assertEquals(await check("running"), { state: "up", detail: "" });
  assertEquals((await check(null)).detail, "libvirt does not know vm1");
  assertEquals((await check("paused")).detail, "vm1 is paused (booted)");
  assertEquals((await check("running", { agent: "yes" })).state, "up");
  assert((await check("running", { agent: "yes" }, false)).detail.includes("does not answer"));
});
