/**
 * The template kvm with libvirt and QEMU (without acceleration): a guest that counts is shut down and started elsewhere by a swap, survives a
 * restart of libvirtd, is killed at a fencing though it is no child of ours, and goes on after a power cut; no number that it told is told twice.
 */
import t from "tap";
import { together, verifyEqual } from "../campaign/power_cuts.ts";
import {
  countsOn,
  createGuestMirror,
  guestImpossible,
  guestsOn,
  prepare,
  processesOf,
  startLibvirt,
  virsh,
} from "./guests.ts";

t.setTimeout(400_000);

t.test("a guest of KVM", { skip: guestImpossible() ?? false }, async (t) => {
  const mirror = await createGuestMirror();
  const { n1, n2, bed } = mirror;
  await using _ = bed;
  await mirror.start("60s");
  await countsOn(mirror, n1, n2);
  t.match(await virsh(n1, "dominfo", "vm1"), /Autostart: +disable/);

  const [guest] = guestsOn(n1);
  n1.signal(processesOf(n1, "/usr/sbin/libvirtd")[0]!, "SIGKILL");
  await countsOn(mirror, n1, n2);
  await startLibvirt(n1);
  t.strictSame(
    [guestsOn(n1), await virsh(n1, "domstate", "vm1")],
    [[guest], "running"],
    "libvirtd may restart",
  );

  await n1.holdfast(["swap", "db"]);
  await mirror.settled("SECOND", "PRIM", "40s");
  await countsOn(mirror, n2, n1);
  t.equal(await virsh(n1, "list", "--all"), "", "where the role is no more, the guest is not defined");
  t.notMatch((await n1.holdfast(["log", "db"])).stdout, "destroyed", "it was shut down");

  const daemon = n2.processes().find(({ command }) => / daemon --var /.test(command))!.pid;
  n2.signal(daemon, "SIGSTOP");
  await n1.holdfast(["wait", "db", "ALONE", "--timeout", "30s"]);
  t.strictSame(guestsOn(n2), [], "fencing killed the guest");
  await countsOn(mirror, n1, n2);
  n2.signal(daemon, "SIGCONT");
  await together(mirror, n1);
  t.equal(await virsh(n2, "list", "--all"), "", "what libvirt still knew of it is gone");
  t.equal(await verifyEqual(n1), "verify: equal");

  await n1.powerCut();
  await n2.holdfast(["wait", "db", "ALONE", "--timeout", "30s"]);
  await countsOn(mirror, n2, null);
  await n1.powerOn();
  await prepare(n1);
  t.match(await virsh(n1, "list", "--all"), /vm1 +shut off/, "n1 boots with the old definition");
  await n1.startDaemon();
  await together(mirror, n2);
  t.equal(await virsh(n1, "list", "--all"), "");

  await virsh(n2, "suspend", "vm1");
  await countsOn(mirror, n2, n1);
  t.match((await n2.holdfast(["log", "db"])).stdout, "vm1 is paused", "the checker saw it: started anew");
  await n2.holdfast(["stop", "db"]);
  t.strictSame([guestsOn(n2), await virsh(n2, "list", "--all")], [[], ""], "a stop stops it");
});
