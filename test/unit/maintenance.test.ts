/** What a person last said of a module's maintenance, on nodes that hear each other's word late, twice or at once. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Journal } from "../../core/daemon/journal.ts";
import { factsOf, type ModuleFacts } from "../../core/daemon/module/facts.ts";
import { ModuleMaintenance } from "../../core/daemon/module/maintenance.ts";

class Node {
  readonly facts: ModuleFacts = { name: "db", number: 1, boot: null };
  readonly told: boolean[] = [];
  readonly maintenance: ModuleMaintenance;

  constructor(readonly varDir: string) {
    this.maintenance = new ModuleMaintenance({
      varDir,
      facts: this.facts,
      journal: new Journal(join(varDir, "log"), "n"),
      changed: (isOn) => this.told.push(isOn),
    });
  }

  /** What is written behind our back is there: the directory must not come back once it is removed. */
  async isWritten(): Promise<void> {
    const log = join(this.varDir, "log", "module.log");
    const lines = (): number => (existsSync(log) ? readFileSync(log, "utf8").split("\n").length - 1 : 0);
    const kept = () => factsOf(this.varDir, "db")?.maintenance?.stamp;
    while (lines() < this.told.length || kept() !== this.facts.maintenance?.stamp) await Bun.sleep(5);
  }

  get isOn(): boolean {
    return this.maintenance.current !== null;
  }
}

function nodes(t: Test): [Node, Node] {
  const dirs = [1, 2].map(() => mkdtempSync(join(tmpdir(), "holdfast-maintenance-")));
  const both: [Node, Node] = [new Node(dirs[0]!), new Node(dirs[1]!)];
  t.teardown(async () => {
    for (const node of both) await node.isWritten();
    for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
  });
  return both;
}

/** Each hears the other's word. */
function meet(a: Node, b: Node): void {
  a.maintenance.hear(b.maintenance.word, "b");
  b.maintenance.hear(a.maintenance.word, "a");
}

t.test("the newest word counts, whoever was away", async (t) => {
  const [a, b] = nodes(t);
  meet(a, b);
  t.same([a.isOn, b.isOn, a.told, b.told], [false, false, [], []], "nobody has said anything");
  await a.maintenance.set(true, "alice");
  t.match(
    factsOf(a.varDir, "db"),
    { maintenance: { on: true, by: "alice" } },
    "on disk before it is answered",
  );
  meet(a, b);
  meet(a, b);
  t.same([b.isOn, b.told], [true, [true]], "once");
  // a is away while it is switched off.
  await b.maintenance.set(false, "bob");
  t.same([a.isOn, b.isOn], [true, false]);
  meet(a, b);
  t.same([a.isOn, b.isOn], [false, false]);
});

t.test("two people at once: both nodes come to the same", async (t) => {
  const [a, b] = nodes(t);
  const word = { stamp: 1000, since: "", by: "x" };
  a.maintenance.hear({ ...word, on: true }, "c");
  b.maintenance.hear({ ...word, on: false }, "c");
  meet(a, b);
  meet(a, b);
  t.same([a.isOn, b.isOn], [true, true], "the one that leaves everything as it is");
});
