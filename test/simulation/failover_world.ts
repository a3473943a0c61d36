/** One schedule: two nodes, a network, a random administrator, and fate. */
import type { State } from "../../core/failover/step.ts";
import type { Effect, Event, FailoverConfig } from "../../core/failover/types.ts";
import { Check } from "./failover_check.ts";
import { Chance, Clock } from "./failover_clock.ts";
import type { Session } from "./failover_datapath.ts";
import { Network } from "./failover_network.ts";
import { SimNode } from "./failover_node.ts";

/** A guarantee that is broken on purpose, to show that it is caught. */
export type Mutant =
  | "goes alone before it is durable"
  | "forgets that it is outdated"
  | "does not wait for the peer's outdatedIn"
  | "changes the target before inconsistent is durable"
  | "does not keep the loser's writes"
  | "counts as whole before the source is PRIM"
  | "starts cold whatever its role";

/** How one run is set up. */
export interface Settings {
  seed: number;
  config?: Partial<FailoverConfig>;
  mutant?: Mutant;
  /** Keep the story in words. */
  story?: boolean;
  coverage?: Map<string, number>;
}

/** The simulated world. */
export class World {
  readonly clock = new Clock();
  readonly chance: Chance;
  readonly network: Network;
  readonly check: Check;
  readonly nodes: readonly [SimNode, SimNode];
  readonly story: string[] = [];
  private operations = 0;
  private readonly settings: Settings;

  constructor(settings: Settings) {
    this.settings = settings;
    this.chance = new Chance(settings.seed);
    this.network = new Network(this.chance);
    this.check = new Check(this);
    const config = (node: string, peer: string): FailoverConfig => ({
      kind: "mirror",
      module: "db",
      node,
      peer,
      failover: "automatic",
      failback: null,
      onIsolation: "continue",
      maxLoop: { count: 3, intervalMs: 86_400_000 },
      replicated: true,
      virtualIp: true,
      ...settings.config,
    });
    this.nodes = [
      new SimNode("n1", 0, config("n1", "n2"), this),
      new SimNode("n2", 1, config("n2", "n1"), this),
    ];
  }

  tell(text: string): void {
    if (this.settings.story === true)
      this.story.push(`${(this.clock.now / 1000).toFixed(3).padStart(8)}  ${text}`);
  }

  newOperation(): number {
    this.operations += 1;
    return this.operations;
  }

  cover(state: State, event: Event): void {
    const { coverage } = this.settings;
    if (coverage === undefined) return;
    const detail =
      event.type === "command"
        ? ` ${event.command.name}`
        : event.type === "replication"
          ? ` ${event.report.kind}`
          : event.type === "done"
            ? event.ok
              ? " ok"
              : " failed"
            : "";
    const key = `${state.state} < ${event.type}${detail}`;
    coverage.set(key, (coverage.get(key) ?? 0) + 1);
  }

  /** TCP: in order, waits out a cut, as long as the receiver keeps the connection. */
  carry(session: Session, from: "source" | "target", run: () => void): void {
    const direction = from === "source" ? 0 : 1;
    const sender = session[from];
    const receiver = from === "source" ? session.target : session.source;
    const at = Math.max(session.deliver[direction] + 0.001, this.clock.now + this.chance.between(0.1, 2));
    session.deliver[direction] = at;
    const attempt = () => {
      if (receiver.session !== session) return;
      const open = this.network.isOpen("repl", sender.node.index) && !receiver.node.isFrozen("process");
      if (open) run();
      else this.clock.after(25, attempt);
    };
    this.clock.at(at, attempt);
  }

  /** Lets a mutant change or swallow an effect. */
  sabotage(node: SimNode, effect: Effect): Effect | null {
    switch (this.settings.mutant) {
      case "goes alone before it is durable":
        if (effect.do === "persist" && effect.record.role === "ALONE" && node.state.state === "PRIM")
          node.data.goAlone(effect.record.generations);
        return effect;
      case "forgets that it is outdated":
        return effect.do === "persist" && effect.record.consistency === "outdated"
          ? { ...effect, record: { ...effect.record, consistency: "uptodate" } }
          : effect;
      case "does not wait for the peer's outdatedIn":
        if (effect.do === "timer" && effect.name === "outdate" && effect.ms !== null)
          return { ...effect, ms: 0 };
        return effect;
      case "changes the target before inconsistent is durable":
        return effect.do === "persist" && effect.record.consistency === "inconsistent"
          ? { ...effect, record: node.disk.record }
          : effect;
      case "does not keep the loser's writes":
        return effect.do === "follow"
          ? { ...effect, full: effect.sacrifice || effect.full, sacrifice: false }
          : effect;
      case "counts as whole before the source is PRIM":
        return effect.do === "persist" && effect.record.consistency === "inconsistent"
          ? { ...effect, record: { ...effect.record, consistency: "uptodate" } }
          : effect;
      case "starts cold whatever its role":
        return effect.do === "persist" && effect.record.role === "SECOND"
          ? { ...effect, record: { ...effect.record, role: "ALONE" } }
          : effect;
      default:
        return effect;
    }
  }
}
