/**
 * The ports on which load balancers ask whether this node serves a module: open where a module wants one, and nowhere else.
 *
 * What is listened to follows from what the modules say, looked at once a second: so a port that another program holds is tried again, and costs
 * nothing but its answers.
 */
import { type Ask, listenForProbes } from "../probe/listener.ts";
import type { GuardianLink } from "./guardian/link.ts";
import type { ModuleRuntime } from "./module/runtime.ts";

const LOOK_MS = 1000;
/** So many wait at most; whoever asks beyond that is told that this node does not serve: it cannot be known now. */
const WAITING_MAX = 256;
/** The resource that says whether load balancers can ask. */
const PORT = "probe.port";

/** See the top of the file. */
export class ProbePorts {
  readonly #open = new Map<number, { close(): void }>();
  readonly #timer = setInterval(() => this.look(), LOOK_MS);
  /** Asked while it is not known whether this node was fenced. */
  #waiting: (() => void)[] = [];

  /** `modules` by name. */
  constructor(
    private readonly modules: ReadonlyMap<string, ModuleRuntime>,
    private readonly guardian: GuardianLink,
  ) {
    guardian.on("awake", () => {
      for (const answer of this.#waiting.splice(0)) answer();
    });
  }

  /** Opens what is wanted, closes what is not, and tells each module how its port is. */
  look(): void {
    const wanted = new Set<number>();
    for (const { probePort } of this.modules.values()) if (probePort !== null) wanted.add(probePort);
    for (const [port, listener] of this.#open) {
      if (wanted.has(port)) continue;
      listener.close();
      this.#open.delete(port);
    }
    const troubles = new Map<number, string>();
    for (const port of wanted) {
      const trouble = this.#listen(port);
      if (trouble !== "") troubles.set(port, trouble);
    }
    for (const { probePort, resources } of this.modules.values()) {
      const trouble = troubles.get(probePort ?? 0) ?? "";
      if (probePort === null) resources.forget(PORT);
      else resources.note(PORT, trouble === "" ? "up" : "down", trouble);
    }
  }

  /** Returns "" or why nobody can ask there. */
  #listen(port: number): string {
    if (this.#open.has(port)) return "";
    try {
      this.#open.set(port, listenForProbes(port, this.#askOn(port)));
      return "";
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const why = code === "EADDRINUSE" ? "another program has it" : message;
      return `load balancers cannot ask on TCP port ${port}: ${why}; it is tried again every second`;
    }
  }

  /** A daemon that has just woken up hears first what its guardian did: the answer comes in the same turn as the look at the state. */
  #askOn(port: number): Ask {
    return (name, answer) => {
      const decide = (): void => {
        const runtime = this.modules.get(name);
        answer(runtime?.probePort === port && runtime.serves);
      };
      if (this.guardian.isAwake()) decide();
      else if (this.#waiting.length >= WAITING_MAX) answer(false);
      else this.#waiting.push(decide);
    };
  }

  /** Closes every port. */
  close(): void {
    clearInterval(this.#timer);
    for (const listener of this.#open.values()) listener.close();
    this.#open.clear();
  }
}
