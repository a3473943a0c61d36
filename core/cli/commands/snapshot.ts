/**
 * `snapshot`: what this node and those that it hears know, in one file, for whoever is asked for help.
 */
import { writeFileSync } from "node:fs";
import packageFile from "../../../package.json" with { type: "json" };
import { type Gathered, packSnapshot } from "../../explain/snapshot.ts";
import { type Command, CommandError, EXIT, type ExitStatus, type Invocation } from "../command.ts";
import { examine } from "../doctor.ts";
import { request, tellResult } from "../node.ts";

async function snapshot(invocation: Invocation): Promise<ExitStatus> {
  const { output, varDir } = invocation;
  const file = invocation.arguments["OUT"]!;
  const [result, findings] = await output.progress(
    "asking every node",
    Promise.all([request(invocation, "GET", "/snapshot"), examine(varDir)]),
  );
  if (result.status !== EXIT.done) return tellResult(output, result);
  const gathered = result.data as Gathered;
  const own = { format: "holdfast snapshot", version: 1, holdfast: packageFile.version, findings } as const;
  const bytes = packSnapshot({ ...own, ...gathered });
  try {
    writeFileSync(file, bytes, { flag: "wx", mode: 0o600 });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = { EEXIST: "is there already: name another file", ENOENT: "its folder is not there" }[
      code ?? ""
    ];
    throw new CommandError(EXIT.failed, `${file}: ${why ?? message}`);
  }
  const { modules } = gathered;
  const silent = [
    ...new Set(
      Object.values(modules).flatMap(({ sources }) =>
        Object.entries(sources).flatMap(([node, { told }]) => (told === null ? [node] : [])),
      ),
    ),
  ];
  const lack = silent.length === 0 ? "" : `; ${silent.join(", ")} did not answer, and is missing in it`;
  const names = Object.keys(modules).join(", ") || "no module";
  const message = `${file}: ${names}, ${Math.ceil(bytes.length / 1024)} KiB${lack}. holdfast explain --snapshot ${file} reads it on any machine`;
  return tellResult(output, { status: EXIT.done, message, data: { file, bytes: bytes.length, silent } });
}

export const SNAPSHOT_COMMANDS: readonly Command[] = [
  {
    name: "snapshot",
    summary: "Put what is known of this cluster into one file, for whoever is asked for help",
    arguments: [{ name: "OUT", help: "the file to make" }],
    changes: "Makes the file, readable for its owner alone.",
    details:
      "It holds cluster.yaml, the status, what doctor finds on this machine, and of each module what every node decided and logged last. Secrets are not in it; names, addresses, and what hooks printed are.",
    examples: ["holdfast snapshot /root/shop.snapshot"],
    run: snapshot,
  },
];
