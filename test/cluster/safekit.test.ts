/**
 * A SafeKit package on real nodes: imported on one, handed to both, started, asked by its own script through the `safekit` command, swapped.
 */
import { readFileSync, writeFileSync } from "node:fs";
import t from "tap";
import { zip } from "../fixtures/zip_writer.ts";
import { onRealNodes } from "./life.ts";
import { createMirror } from "./mirror.ts";
import { until } from "./testbed.ts";

t.setTimeout(400_000);

t.test(
  "an imported package runs, and its scripts talk to Holdfast by SafeKit's command",
  onRealNodes,
  async (t) => {
    const mirror = await createMirror({ yaml: "" });
    t.teardown(() => mirror.bed.destroy());
    const { n1, n2, bed } = mirror;
    const record = (node: string): string[] => {
      try {
        return readFileSync(`${bed.dir}/${node}.safekit`, "utf8").trimEnd().split("\n");
      } catch {
        return [];
      }
    };
    const say = `>> ${bed.dir}/$HOLDFAST_NODE.safekit`;
    const data = `${n1.dataDir}/shop`;
    // What watches the application in the background outlives its script, and acts for itself.
    const start = `#!/bin/sh
echo "start_prim $1 $2 $3 $GREETING" ${say}
safekit printi "I serve"
echo served > "%DATA%/served" || exit 1
(
	while :; do
		safekit state -lq
		state=$?
		[ "$state" = 3 ] && break
		sleep 0.1
	done
	echo "state $state" ${say}
	[ -f ${bed.dir}/asked ] || { touch ${bed.dir}/asked; safekit swap -i start_prim; }
) &
`;
    const file = `${bed.dir}/shop.safe`;
    writeFileSync(
      file,
      zip([
        {
          name: "conf/userconfig.xml",
          content: `<?xml version="1.0"?>
<!DOCTYPE safe>
<safe><service mode="mirror" boot="on">
  <heart pulse="200ms" timeout="1s"><heartbeat name="lan"/><heartbeat name="repl" ident="flow"/></heart>
  <rfs><replicated dir="${data}"/></rfs>
  <user nicestoptimeout="20s" forcestoptimeout="20s"><var name="GREETING" value="hello world"/></user>
</service></safe>`,
        },
        { name: "bin/start_prim", content: start.replace("%DATA%", data), mode: 0o100755 },
        { name: "bin/stop_prim", content: `#!/bin/sh\necho "stop_prim $*" ${say}\n`, mode: 0o100755 },
        { name: "bin/prestart", content: `#!/bin/sh\n"$SAFEUSERBIN/stop_prim" force\n`, mode: 0o100755 },
      ]),
    );
    for (const node of [n1, n2]) await node.exec(["mkdir", "-p", data]);
    await n1.holdfast(["module", "import", file]);
    t.equal((await n1.holdfast(["module", "check", "shop"])).status, 0);
    await n1.holdfast(["module", "apply", "shop"]);
    await n1.holdfast(["start", "shop", "--all"]);
    await n1.holdfast(["prim", "shop"]);
    await until(
      "the first primary's script has asked for a swap",
      () => record("n1").some((line) => line.startsWith("state")),
      20_000,
    );
    t.strictSame(record("n1").slice(0, 2), ["stop_prim force", "start_prim WAIT ALONE start hello world"]);
    t.ok(record("n1").includes("state 3"), "safekit state tells PRIM by its exit status");
    await n2.holdfast(["wait", "shop", "PRIM", "--timeout", "30s"]);
    t.equal(readFileSync(n2.on.path(`${data}/served`), "utf8"), "served\n", "the data is there");
    const { stdout } = await n1.holdfast(["log", "shop", "--lines", "200"]);
    t.match(stdout, /I serve/);
    t.match(
      record("n1").filter((line) => line.startsWith("stop_prim")),
      ["stop_prim force", "stop_prim PRIM SECOND stop", "stop_prim force PRIM SECOND stop"],
    );
  },
);
