/** The hooks of a simulated node, and the application that they start and stop. */
import type { Effect } from "../../core/failover/types.ts";
import type { SimNode } from "./failover_node.ts";
import type { World } from "./failover_world.ts";

/** How many times as long as another hook one takes that cuts power. */
const POWER_TAKES = 20;

/** See the top of the file. */
export class Hooks {
  /** Those that fail now. */
  readonly failing = new Set<string>();
  /** How many times as long each takes. */
  slowness = 1;
  readonly #node: SimNode;
  readonly #world: World;

  constructor(node: SimNode, world: World) {
    this.#node = node;
    this.#world = world;
  }

  /** Runs one: the answer comes when it ends. */
  run(effect: Extract<Effect, { do: "hook" }>): void {
    const node = this.#node;
    const takes = this.#world.chance.between(1, 60) * this.slowness;
    if (effect.hook === "fence") {
      this.#cutPower(effect.id, takes);
      return;
    }
    const fails = this.failing.has(effect.hook) && !effect.force;
    const starts = effect.hook === "start_prim";
    const { fences } = node;
    node.after("daemon", takes, () => {
      // Fencing kills the hook that runs, whichever it is.
      if (fences !== node.fences) {
        node.done(effect.id, 0, false, "killed");
        return;
      }
      if (effect.hook === "stop_prim" && !fails) node.application = false;
      if (starts && !fails) this.#startApplication(effect.id);
      else node.done(effect.id, 0, !fails, fails ? "exit status 1" : "");
    });
  }

  /** The other node loses power, and has it back a while later, as a person or a management board sees to it. The hook goes on while its daemon is stopped. */
  #cutPower(id: number, takes: number): void {
    const node = this.#node;
    const { clock, chance } = this.#world;
    const { fences } = node;
    let trouble = "killed";
    const end = () => {
      if (fences !== node.fences) return;
      if (node.isStunned) {
        clock.at(node.stunned.to, end);
        return;
      }
      trouble = this.failing.has("fence") ? "the management board does not answer" : "";
      if (trouble !== "") return;
      node.peer().crash();
      clock.after(chance.between(200, 6000), () => node.peer().boot());
    };
    const ms = takes * POWER_TAKES;
    clock.after(node.time.inTruth(ms), end);
    node.after("daemon", ms + 1, () => {
      const isTaken = this.#world.isBroken("takes a failed fence for done");
      node.done(id, 0, trouble === "" || isTaken, trouble);
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
