/** The hooks of a simulated node, and the application that they start and stop. */
import type { Effect } from "../../core/failover/types.ts";
import type { SimNode } from "./failover_node.ts";
import type { World } from "./failover_world.ts";

/** See the top of the file. */
export class Hooks {
  /** Those that fail now. */
  readonly failing = new Set<string>();
  readonly #node: SimNode;
  readonly #world: World;

  constructor(node: SimNode, world: World) {
    this.#node = node;
    this.#world = world;
  }

  /** Runs one: the answer comes when it ends. */
  run(effect: Extract<Effect, { do: "hook" }>): void {
    const node = this.#node;
    const takes = this.#world.chance.between(1, 60);
    const fails = this.failing.has(effect.hook) && !effect.force;
    const starts = effect.hook === "start_prim";
    const { fences } = node;
    node.after("daemon", takes, () => {
      // Fencing kills the hook that runs.
      if (starts && fences !== node.fences) {
        node.done(effect.id, 0, false, "killed");
        return;
      }
      if (effect.hook === "stop_prim" && !fails) node.application = false;
      if (starts && !fails) this.#startApplication(effect.id);
      else node.done(effect.id, 0, !fails, fails ? "exit status 1" : "");
    });
  }

  /** The start hook writes and syncs, as a database does, before it is done. */
  #startApplication(id: number): void {
    const node = this.#node;
    this.#world.check.runs(node);
    node.application = true;
    const { fences } = node;
    let answered = false;
    const finish = (ok: boolean) => {
      // Fencing has killed the hook.
      if (answered || fences !== node.fences) return;
      answered = true;
      if (!ok) node.application = false;
      node.done(id, 0.1, ok, ok ? "" : "the database does not answer");
      if (ok && node.config.replicated) this.#work();
    };
    if (!node.config.replicated) finish(true);
    else if (!node.data.write(this.#world.newOperation(), () => finish(true))) finish(false);
    node.after("daemon", 8000, () => finish(false));
  }

  #work(): void {
    const node = this.#node;
    node.after("process", this.#world.chance.between(40, 160), () => {
      if (!node.application) return;
      let continued = false;
      const next = () => {
        if (continued) return;
        continued = true;
        this.#work();
      };
      if (!node.data.write(this.#world.newOperation(), next)) node.application = node.data.role === "serving";
    });
  }
}
