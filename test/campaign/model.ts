/**
 * Random file operations by several processes while nodes lose their power. What the serving node then has must be a moment of each
 * process's work (test/model/judge.ts), nothing that a sync confirmed may be missing, and both replicas become equal again.
 */
import { differences, treeOf } from "../cluster/life_tree.ts";
import { createMirror, type Mirror } from "../cluster/mirror.ts";
import { type Node, until } from "../cluster/testbed.ts";
import { Application } from "../model/application.ts";
import { comesBack, lastWords, onlySecondReturns, PATIENCE, primary, verifyEqual } from "./power_cuts.ts";
import { randomFrom } from "./random.ts";

/**
 * Who loses power. `both`: and both return. `second alone`: both, and only the old SECOND returns, by force. `source`: SECOND, and PRIM
 * while it brings it up to date again.
 */
export type Cut = "prim" | "second" | "both" | "second alone" | "source";

const CUTS: readonly Cut[] = ["prim", "prim", "prim", "second", "second", "both", "second alone", "source"];
/** Part of the nodes that lose their power once more while they come back. */
const CUT_AGAIN = 0.3;
/** Longest time before a cut, and before another cut on the way back, ms. */
const CALM_MS = 1500;

/** What to run. */
export interface ModelCuts {
  seed: number;
  durability: "fsync" | "write";
  /** One after another; a number: so many, drawn from the seed. */
  cuts: readonly Cut[] | number;
  workers: number;
  tell(line: string): void;
}

/** Runs it; throws when something is not as it must be, with the seed and what differs. Returns a line of figures. */
export async function cutUnderOperations(options: ModelCuts): Promise<string> {
  const { seed, durability, workers, tell } = options;
  const mirror = await createMirror({
    yaml: `replicate:\n  durability: ${durability}\n  paths:\n    - path: DATA\n`,
  });
  await using _bed = mirror.bed;
  await mirror.start();
  const random = randomFrom(seed);
  const one = (): Cut => CUTS[Math.floor(random() * CUTS.length)]!;
  const plan = typeof options.cuts === "number" ? Array.from({ length: options.cuts }, one) : options.cuts;
  const campaign = new ModelCampaign(mirror, new Application(mirror, seed, durability, workers), random);
  for (const [index, cut] of plan.entries()) {
    const name = `seed ${seed}, durability ${durability}, cut ${index + 1} (${cut})`;
    try {
      tell(`${name}: ${await campaign.round(cut)}`);
    } catch (error) {
      throw new Error(`${name}: ${(error as Error).message}\n${lastWords(mirror)}`);
    }
  }
  const { operations, undone } = campaign.application;
  return `seed ${seed}, durability ${durability}: ${plan.length} rounds, ${campaign.cuts} power cuts, ${operations} operations, ${undone} of them undone by a cut, none that was synced`;
}

class ModelCampaign {
  cuts = 0;

  constructor(
    readonly mirror: Mirror,
    readonly application: Application,
    readonly random: () => number,
  ) {}

  /** Work, a cut, more work while the nodes come together again, and a comparison of both. */
  async round(cut: Cut): Promise<string> {
    const prim = await primary(this.mirror);
    const second = prim === this.mirror.n1 ? this.mirror.n2 : this.mirror.n1;
    await this.application.start(prim, [prim, second]);
    await this.#calm();
    const said = await this.#cut(cut, prim, second);
    await this.#calm();
    await this.application.stop();
    const serving = await primary(this.mirror);
    const live = this.application.examine(serving, "live");
    await this.#becomeEqual();
    return `${said}then ${live}; ${await verifyEqual(serving)}`;
  }

  #calm(): Promise<void> {
    return Bun.sleep(this.random() * CALM_MS);
  }

  async #cut(cut: Cut, prim: Node, second: Node): Promise<string> {
    const cutAt = Date.now();
    this.cuts += cut === "both" || cut === "second alone" ? 2 : 1;
    if (cut === "second") {
      await second.powerCut();
      await this.#calm();
      await this.#return(second, prim);
      return "";
    }
    if (cut === "prim") {
      await prim.powerCut();
      await second.holdfast(["wait", "db", "ALONE", "--timeout", PATIENCE]);
    } else if (cut === "second alone") {
      await onlySecondReturns(prim, second);
      await second.holdfast(["wait", "db", "ALONE", "--timeout", PATIENCE]);
    } else if (cut === "both") {
      await Promise.all([prim.powerCut(), second.powerCut()]);
      await Promise.all([prim, second].map(boot));
      return this.#goOn(await this.#settled(), "disk", cutAt);
    } else return this.#cutSource(prim, second);
    const said = await this.#goOn(second, cut === "prim" ? "memory" : "disk", cutAt);
    await this.#return(prim, second);
    return said;
  }

  /** Did the target become up to date just before, it serves; else the source must return. */
  async #cutSource(source: Node, target: Node): Promise<string> {
    await target.powerCut();
    await this.#calm();
    await boot(target);
    await this.#calm();
    const cutAt = Date.now();
    this.cuts++;
    await source.powerCut();
    const served = await target.holdfast(["wait", "db", "ALONE", "--timeout", "6s"], { mayFail: true });
    if (served.status === 0) {
      const said = await this.#goOn(target, "memory", cutAt);
      await this.#return(source, target);
      return said;
    }
    await boot(source);
    return this.#goOn(await this.#settled(), "disk", cutAt);
  }

  /** Judges what the node has, and lets the application go on there. */
  async #goOn(serving: Node, survived: "memory" | "disk", cutAt: number): Promise<string> {
    const said = this.application.examine(serving, survived, cutAt);
    await this.application.start(serving, [serving]);
    return `${serving.name} serves with ${said} (${survived}), `;
  }

  async #return(node: Node, survivor: Node): Promise<void> {
    if (this.random() < CUT_AGAIN) {
      await boot(node);
      await this.#calm();
      this.cuts++;
      await node.powerCut();
    }
    await comesBack(this.mirror, node, survivor);
  }

  async #settled(): Promise<Node> {
    await until(
      "both are together again",
      async () => {
        const states = await this.mirror.states();
        return states.includes("PRIM Ready") && states.includes("SECOND Ready");
      },
      60_000,
      100,
    );
    return primary(this.mirror);
  }

  /** Pages that nobody synced follow within a second. */
  async #becomeEqual(): Promise<void> {
    const { n1, n2, data } = this.mirror;
    let left: string[] = [];
    const areEqual = async (): Promise<boolean> => {
      left = differences(await treeOf(n1, data), await treeOf(n2, data));
      return left.length === 0;
    };
    await until("both are equal", areEqual, 10_000, 300).catch(() => {
      throw new Error(`${left.length} objects differ between the nodes:\n${left.slice(0, 10).join("\n")}`);
    });
  }
}

async function boot(node: Node): Promise<void> {
  await node.powerOn();
  await node.startDaemon();
}
