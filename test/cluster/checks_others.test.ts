/**
 * Checkers that look at what is not the module's own: another module, here or on another node; and a disk that hangs, as it does when its file system
 * is frozen.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import type { NodeStatus, StatusDocument } from "../../core/daemon/engine.ts";
import { createMirror } from "./mirror.ts";
import { type Node, testbedImpossible, until } from "./testbed.ts";
import { cutDisk } from "./testbed_disk.ts";

t.setTimeout(400_000);
const skip = testbedImpossible() ?? false;

async function statusOf(node: Node, module: string): Promise<NodeStatus> {
  return (await node.json<StatusDocument>(["status"])).modules[module]!.nodes[node.name]!;
}

async function comes(
  node: Node,
  module: string,
  wanted: Record<string, string>,
  detail = /^/,
): Promise<void> {
  let seen: NodeStatus["resources"] = {};
  await until(`${module}: ${JSON.stringify(wanted)}`, async () => {
    seen = (await statusOf(node, module)).resources;
    return Object.entries(wanted).every(
      ([name, state]) => seen[name]?.state === state && detail.test(seen[name].detail ?? ""),
    );
  }).catch((error: Error) => {
    throw new Error(`${error.message}; it has ${JSON.stringify(seen)}`);
  });
}

async function apply(node: Node, name: string, yaml: string): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "holdfast-module-"));
  mkdirSync(join(dir, name));
  writeFileSync(join(dir, name, "module.yaml"), yaml);
  await node.holdfast(["module", "apply", name, "--from", join(dir, name)]);
  rmSync(dir, { recursive: true });
}

const APP = `kind: light
nodes: [n1]
checkers:
  module:
    needed: { name: db, on: anywhere, interval: 300ms }
    here: { name: db, interval: 300ms, when: prim, action: none, grace: 0ms }
    missing: { name: nobody, interval: 300ms, when: prim, action: none, grace: 0ms }
`;

t.test("another module, here and on another node", { skip }, async (t) => {
  const mirror = await createMirror({ yaml: "", files: {}, replicate: false });
  t.teardown(() => mirror.bed.destroy());
  const { n1, n2 } = mirror;
  await apply(n1, "app", APP);
  await n1.holdfast(["start", "app"]);
  t.match(await statusOf(n1, "app"), {
    state: "WAIT",
    reason: /^waits: module\.needed is down: db does not serve: .* \(rule module_failure_needed\)/,
  });
  await mirror.start();
  await n1.holdfast(["wait", "app", "UP"]);
  await comes(n1, "app", { "module.needed": "up", "module.here": "up" }, /^PRIM on n1$/);
  await comes(n1, "app", { "module.missing": "down" }, /there is no module nobody on n1/);
  await n1.holdfast(["swap", "db"]);
  await mirror.settled("SECOND", "PRIM");
  await comes(n1, "app", { "module.needed": "up" }, /^PRIM on n2$/);
  await comes(n1, "app", { "module.here": "down" }, /^db does not serve: SECOND Ready on n1$/);
  await n2.holdfast(["stop", "db", "--all"]);
  await comes(n1, "app", { "module.needed": "down" }, /STOP/);
  t.match(await statusOf(n1, "app"), { state: "UP", reason: /NOT waiting, though module\.needed/ });
  await n2.holdfast(["start", "db", "--all"]);
  await comes(n1, "app", { "module.needed": "up" });
});

const DISKS = `checkers:
  disk:
    written: { path: /run/frozen, write: true, interval: 300ms, timeout: 1s, grace: 0ms }
    looked_at: { path: /run/frozen, interval: 300ms, timeout: 1s, grace: 0ms }
`;

/** On the node's own disk. */
const imageOn = (node: Node): string => `${node.dataDir}/frozen.img`;

t.test("a disk that hangs is down, and the daemon does not wait for it", { skip }, async (t) => {
  const mirror = await createMirror({
    yaml: DISKS,
    files: {},
    replicate: false,
    prepare: async (node) => {
      const image = imageOn(node);
      const lines = [
        `mkdir -p ${node.dataDir} /run/frozen`,
        `truncate -s 16M ${image} && mkfs.ext4 -q ${image} && mount -o loop ${image} /run/frozen`,
      ];
      await node.exec(["sh", "-ec", lines.join("\n")]);
    },
  });
  t.teardown(() => mirror.bed.destroy());
  const { n1 } = mirror;
  await mirror.start();
  await comes(n1, "db", { "disk.written": "up", "disk.looked_at": "up" });
  await n1.exec(["fsfreeze", "--freeze", "/run/frozen"]);
  try {
    await comes(n1, "db", { "disk.written": "down" }, /^the last look still hangs$/);
    const found = await n1.json<{ data: Record<string, { history: { detail: string }[] }> }>([
      "resources",
      "db",
    ]);
    t.equal(found.data["disk.written"]!.history.at(-1)!.detail, "no answer within 1s");
    const [prim, second] = await mirror.states();
    t.same([prim, second], ["PRIM Ready", "SECOND Ready"], "heartbeats and commands go on");
    await comes(n1, "db", { "disk.looked_at": "up" }, /free$/);
    t.pass("a look alone does not notice: only what writes does");
  } finally {
    await n1.exec(["fsfreeze", "--unfreeze", "/run/frozen"]);
  }
  await comes(n1, "db", { "disk.written": "up" }, /free$/);

  t.comment("a disk that gives nothing but errors");
  cutDisk(n1.on.path("/run/frozen"));
  await comes(n1, "db", { "disk.written": "down" }, /EIO|Input\/output/i);
  // The checker may be looking.
  await until("it is unmounted", async () => {
    const { status } = await n1.exec(["umount", "/run/frozen"], { mayFail: true });
    return status === 0;
  });
  await n1.exec(["mount", "-o", "loop", imageOn(n1), "/run/frozen"]);
  await comes(n1, "db", { "disk.written": "up" }, /free$/);
});
