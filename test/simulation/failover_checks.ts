/** What a simulated node's checkers find: the truth about each resource, told late, and only while that check looks. */
import { parseCondition } from "../../core/checks/condition_text.ts";
import { isLooking } from "../../core/failover/rules.ts";
import type { CheckScope, RuleAction, Watched } from "../../core/failover/types.ts";
import type { Chance } from "./failover_clock.ts";
import type { SimNode } from "./failover_node.ts";
import type { World } from "./failover_world.ts";

/** How long a check may take to see what is so, ms. */
const NOTICED_WITHIN = 400;

const rule = (name: string, words: string, then: RuleAction) => ({
  name,
  words,
  if: parseCondition(words),
  then,
});

/** What can be started again alone. */
export const PART = "process.worker";

/** One checker of each kind, and a rule that looks at both nodes. */
export const WATCHED: Watched = {
  checks: {
    "ping.gateway": "pre",
    "tcp.db": "prim",
    "custom.copy": "second",
    "interface.lan": "both",
    "ip.address": "prim",
  },
  rules: [
    rule("p_gateway", "ping.gateway == down", "wait"),
    rule("t_db", "tcp.db == down", "restart"),
    rule("c_copy", "custom.copy == down", "stopstart"),
    rule("interface", "interface.lan == down && remote.interface.lan == up", "swap"),
    rule("ip", "ip.address == down", "stop"),
  ],
};

/** The same, and something that is started again alone. */
export const WATCHED_IN_PARTS: Watched = {
  checks: { ...WATCHED.checks, [PART]: "prim" },
  rules: [...WATCHED.rules, { ...rule("p_worker", `${PART} == down`, "restart"), part: PART }],
};

/** The resources that a schedule may bring down. */
export const WATCHED_NAMES = Object.keys(WATCHED_IN_PARTS.checks);

/** Which resources stay down for everybody, even in peace: the service must go on all the same. */
export function drawDownForAll(shape: Chance): string | null {
  return shape.is(0.25) ? "ping.gateway" : null;
}

/** The checkers of one node. */
export class SimChecks {
  readonly #down = new Set<string>();
  #scope: CheckScope = "none";
  /** In peace nothing changes any more: what a fault would undo later stays. */
  #isPeace = false;

  constructor(
    private readonly node: SimNode,
    private readonly world: World,
    private readonly watched: Watched | undefined,
  ) {}

  /** The daemon begins anew. */
  reset(): void {
    this.#scope = "none";
  }

  /** What the core asks for: checks that begin look. */
  look(scope: CheckScope): void {
    const before = this.#scope;
    this.#scope = scope;
    for (const [name, when] of Object.entries(this.watched?.checks ?? {}))
      if (isLooking(when, scope) && !isLooking(when, before)) this.#tell(name);
  }

  /** The truth changes. */
  set(name: string, isDown: boolean): void {
    if (this.#isPeace || this.#down.has(name) === isDown) return;
    if (isDown) this.#down.add(name);
    else this.#down.delete(name);
    this.world.tell(`${name} ${isDown ? "fails" : "is good again"} on ${this.node.name}`);
    const when = this.watched?.checks[name];
    if (when !== undefined && isLooking(when, this.#scope)) this.#tell(name);
  }

  /** From now on only this is down. */
  peace(downForAll: string | null): void {
    for (const name of WATCHED_NAMES) this.set(name, name === downForAll);
    this.#isPeace = true;
  }

  #tell(name: string): void {
    this.node.after("daemon", this.world.chance.between(1, NOTICED_WITHIN), () => {
      const state = this.#down.has(name) ? "down" : "up";
      this.node.feed({ type: "resource", name, state, detail: "" });
    });
  }
}
