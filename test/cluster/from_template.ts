/**
 * A module of one of our templates, for tests with the real application.
 */
import type { Test } from "tap";
import { TEMPLATES } from "../../templates/catalog.ts";
import { instantiate, parseSetting } from "../../templates/instantiate.ts";
import type { Ledger } from "../campaign/ledger.ts";
import { primary, together } from "../campaign/power_cuts.ts";
import type { Mirror } from "./mirror.ts";
import { type Node, until } from "./testbed.ts";

/** The files of `module new --template NAME --set …`. */
export function templateFiles(name: string, settings: readonly string[] = []): Record<string, string> {
  return instantiate(TEMPLATES.find((one) => one.name === name)!, settings.map(parseSetting));
}

/** A database under its template, on n2, with n1 as its secondary, and the client that writes to it. */
export interface RunningDatabase {
  mirror: Mirror;
  ledger: Ledger;
  /** Compares what the client was told with what is there. */
  examine(ledger: Ledger, prim: Node): Promise<string>;
  /** In the command line of its server, and of nothing else. */
  program: string;
}

/** Its server crashes; then it hangs, is cut off by a swap, and stopped on the other node. `look` sees it after the crash. */
export async function crashHangAndStop(
  t: Test,
  { mirror, ledger, examine, program }: RunningDatabase,
  look: () => Promise<void>,
): Promise<void> {
  const { n1, n2 } = mirror;
  const server = (node: Node) => node.processes().find(({ command }) => command.includes(program));
  const began = ledger.committed.length;
  const { pid } = server(n2)!;
  process.kill(pid, "SIGKILL");
  await until("it is started again", () => ![undefined, pid].includes(server(n2)?.pid), 20_000);
  await together(mirror, n2);
  t.match(
    await examine(ledger, n2),
    /none missing/,
    "after a crash it is started again, whatever is left behind",
  );
  await look();
  process.kill(server(n2)!.pid, "SIGSTOP");
  await n2.holdfast(["swap", "db"]);
  await mirror.settled("PRIM", "SECOND", "30s");
  t.equal(await primary(mirror), n1);
  t.match(
    await examine(ledger, n1),
    /none missing/,
    "after a swap away from a server that hung, and was cut off",
  );
  t.match((await n2.holdfast(["log", "db"])).stdout, /stopped \(cut off\)/);
  t.ok(ledger.committed.length > began);
  await ledger.close();
  await n1.holdfast(["stop", "db"]);
  t.equal(server(n1), undefined, "a stop stops it");
}
