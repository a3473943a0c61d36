/** What a simulated node's core asks for, carried out as the daemon would: in its time, and with a result. */
import type { DurableRecord, Effect } from "../../core/failover/types.ts";
import type { SimNode } from "./failover_node.ts";
import { effectInWords } from "./failover_words.ts";
import type { World } from "./failover_world.ts";

/** See the top of the file. */
export class Effects {
  readonly #timers = new Map<string, number>();
  #diskFree = 0;
  /** Records on their way to the disk. */
  #writing: DurableRecord[] = [];
  /** Grows whenever the address is asked for, or given up. */
  #wishes = 0;

  constructor(
    private readonly node: SimNode,
    private readonly world: World,
  ) {}

  /** A daemon begins: what the one before it waited for does not come. */
  beginAnew(): void {
    this.#timers.clear();
    this.#diskFree = 0;
    this.#writing = [];
  }

  /** Power cut: a record being written may have made it. */
  losePower(): void {
    for (const record of this.#writing) if (this.world.chance.is(0.5)) this.node.disk.record = record;
    this.#writing = [];
  }

  /** Begins it; its result comes as an event. */
  carryOut(given: Effect): void {
    const { node, world } = this;
    const { chance } = world;
    const effect = world.sabotage(node, given);
    if (world.telling) {
      const words = effectInWords(effect);
      if (words !== "") world.tell(`${node.name}   ${words}`);
    }
    switch (effect.do) {
      case "persist":
        this.#persist(effect.id, effect.record);
        return;
      case "hook":
        node.hooks.run(effect);
        return;
      case "virtualIp":
        this.#moveAddress(effect.id, effect.up);
        return;
      case "serve":
        this.#serve(effect);
        return;
      case "goAlone":
        node.after("daemon", 0.5, () => {
          node.data.goAlone(effect.generations);
          if (node.data.role === "serving") world.check.wentAlone(node);
          node.done(effect.id, 0.1);
        });
        return;
      case "follow":
        node.data.follow(effect.generations, effect.full, effect.sacrifice);
        node.done(effect.id, chance.between(0.5, 5));
        return;
      case "stopReplication":
        node.data.stop((trouble) => node.done(effect.id, 0.5, trouble === "", trouble));
        return;
      case "sealStream":
        node.data.seal();
        node.done(effect.id, chance.between(0.2, 20));
        return;
      case "fence":
        node.fences++;
        this.#wishes++;
        node.application = false;
        node.data.reset();
        node.done(effect.id, chance.between(1, 30));
        return;
      case "askLease":
      case "recordSole":
      case "readWitness":
        world.witness.ask(node, effect);
        return;
      case "releaseLease":
        world.witness.giveBack(node);
        return;
      case "proceed":
        node.data.proceed(effect.after);
        return;
      case "publish":
        node.heartbeats.send();
        return;
      case "timer":
        this.#timer(effect.name, effect.ms);
        return;
      case "check":
        node.checks.look(effect.scope);
        return;
      case "shout":
        return;
      case "answer":
        world.tell(`${node.name} answers ${effect.ok ? "yes" : "no"}: ${effect.message}`);
    }
  }

  #moveAddress(id: number, up: boolean): void {
    const { node, world } = this;
    const wish = ++this.#wishes;
    const began = node.time.now;
    node.after("daemon", world.chance.between(0.5, 5), () => {
      if (up && (wish !== this.#wishes || node.address.isOver(began))) {
        node.done(id, 0, false, "it was given up while it was being taken");
        return;
      }
      node.address.set(up, began);
      if (up) world.check.runs(node);
      node.done(id, 0);
    });
  }

  #serve({ id, alone, generations }: Extract<Effect, { do: "serve" }>): void {
    const { node, world } = this;
    const { fences } = node;
    node.after("daemon", world.chance.between(0.5, 10), () => {
      // The process that was asked is dead.
      if (fences !== node.fences) {
        node.done(id, 0.1, false, "the replication process is gone");
        return;
      }
      node.data.serve(alone, generations);
      world.check.serves(node);
      if (alone) world.check.wentAlone(node);
      node.done(id, 0.1);
    });
  }

  #persist(id: number, record: DurableRecord): void {
    const { node, world } = this;
    if (record.role === "ALONE") world.check.decidesAlone(node, record);
    const at = Math.max(world.clock.now, this.#diskFree) + world.chance.between(0.5, 12) * node.slowness;
    this.#diskFree = at;
    const fails = node.writesFail;
    if (!fails) this.#writing.push(record);
    node.after("daemon", at - world.clock.now, () => {
      this.#writing = this.#writing.filter((written) => written !== record);
      if (!fails) node.disk.record = record;
      node.feed({ type: "done", effect: id, ok: !fails, detail: fails ? "no space left on device" : "" });
    });
  }

  #timer(name: string, ms: number | null): void {
    const { node } = this;
    const serial = (this.#timers.get(name) ?? 0) + 1;
    this.#timers.set(name, serial);
    if (ms === null) return;
    node.after("daemon", ms, () => {
      if (this.#timers.get(name) === serial) node.feed({ type: "timer", name });
    });
  }
}
