/**
 * Commands that change a module's state on this node: what must hold before one is given, and what is said of what it did.
 */
import type { Command, ModuleState } from "../failover/types.ts";
import type { CommandResult, Engine, ModuleCommand, NodeStatus } from "./engine.ts";
import type { LoadedModules } from "./loaded_modules.ts";
import { ModuleRuntime } from "./module/runtime.ts";
import type { Revisions } from "./revisions/revisions.ts";
import type { SecretGate } from "./secrets/secret_gate.ts";

/** What they work with. */
export interface CommandParts {
  /** This node's name. */
  node: string;
  modules: ReadonlyMap<string, ModuleRuntime>;
  loaded: LoadedModules;
  revisions: Revisions;
  gate: SecretGate;
}

/** See the top of the file; each method is that of `Engine`. */
export class ModuleCommands implements Pick<Engine, "command" | "shutdown" | "wait" | "drain"> {
  constructor(private readonly parts: CommandParts) {}

  async command(
    name: string,
    command: ModuleCommand,
    options: Parameters<Engine["command"]>[2],
  ): Promise<CommandResult> {
    const { loaded, node } = this.parts;
    const named = loaded.findHere(name);
    if (!(named instanceof ModuleRuntime)) return named;
    await named.opened;
    const before = named.status();
    const { state, reason: explanation, remedy = "" } = before;
    if (named.damage !== "") {
      if (command === "stop" || command === "forcestop")
        return { status: 0, message: `${name} does not run on ${node}: ${explanation}` };
      if (!(command === "second" && options.full) && !(command === "prim" && options.force))
        return { status: 1, message: `${name} is not started on ${node}: ${explanation} (${remedy})` };
      await named.renounceRecord();
    }
    const reason = await this.#hindrance(named, command);
    if (reason !== "") {
      const what = state === "STOP" ? "is not started" : `stays ${state}`;
      return { status: 1, message: `${name} ${what} on ${node}: ${reason}` };
    }
    // It may have been loaded anew meanwhile.
    const runtime = loaded.findHere(name);
    if (!(runtime instanceof ModuleRuntime)) return runtime;
    const { force = false, full = false, part, by } = options;
    const refusal = part === undefined ? "" : runtime.checks.partRefusal(part);
    if (refusal !== "") return { status: 2, message: refusal };
    const words = [command, ...(part === undefined ? [] : [part])];
    if (force) words.push("--force");
    if (full) words.push("--full");
    runtime.journal.line("event", `Action ${command} called by ${by}`);
    const isKeptBack = command === "start" && runtime.farm.isKeptBack;
    const result = await runtime.command(
      coreCommand(command, { force, full, part }),
      `${by}: holdfast ${words.join(" ")}`,
    );
    if (result.status === 0 && wasThere(command, before) && runtime.status().state === state)
      return {
        status: 0,
        message: `${node} is ${state} already; ${isKeptBack ? "it takes new clients again" : "nothing was done"}`,
        data: { changed: isKeptBack },
      };
    const stops = command === "stop" || command === "forcestop";
    if (options.everywhere && stops && result.status === 0)
      return { ...result, message: `stopped on ${node}` };
    return runtime.definition.config.kind === "mirror" ? result : withoutRoles(command, result, runtime);
  }

  /** Makes a module ready for a command. Returns "" or why it cannot be given: what stops a module can always. */
  async #hindrance(runtime: ModuleRuntime, command: ModuleCommand): Promise<string> {
    const { modules, revisions, gate } = this.parts;
    const { name } = runtime.definition;
    gate.leave(name);
    if (command === "stop" || command === "forcestop") {
      revisions.leaveStopped(name);
      runtime.begin(false);
      return "";
    }
    const disagreement = runtime.status().state === "STOP" ? await revisions.demandAgreement(name) : "";
    return disagreement === "" ? await gate.refusal(modules.get(name) ?? runtime) : disagreement;
  }

  async shutdown(by: string): Promise<CommandResult> {
    const names = [...this.parts.modules].flatMap(([name, { isHere }]) => (isHere ? [name] : []));
    const results = await Promise.all(names.map((name) => this.command(name, "stop", { by })));
    const failed = results.filter(({ status }) => status !== 0);
    const settled = await Promise.all(names.map((name) => this.wait(name, ["STOP"], 600_000)));
    if (failed.length > 0 || settled.some(({ status }) => status !== 0)) {
      return {
        status: 1,
        message: `not every module stopped: ${failed.map(({ message }) => message).join("; ")}`,
      };
    }
    return {
      status: 0,
      message: names.length === 0 ? "no module runs here" : `stopped: ${names.join(", ")}`,
    };
  }

  async wait(name: string, states: readonly ModuleState[], timeoutMs: number): Promise<CommandResult> {
    const runtime = this.parts.loaded.findHere(name);
    if (!(runtime instanceof ModuleRuntime)) return runtime;
    const settled = (): boolean => {
      const { state, readiness } = runtime.status();
      // STOP and WAIT are where a module rests without being ready; every other state counts once it is there.
      return (
        states.includes(state) &&
        (readiness === "Ready" || ((state === "STOP" || state === "WAIT") && readiness === "NotReady"))
      );
    };
    if (await runtime.when(settled, timeoutMs)) {
      return { status: 0, message: `${name} on ${this.parts.node} is ${runtime.status().state}` };
    }
    const { state, readiness, reason } = runtime.status();
    return {
      status: 4,
      message: `${name} on ${this.parts.node} is ${state} ${readiness}, not ${states.join(" or ")}: ${reason}`,
    };
  }

  async drain(name: string, timeoutMs: number, by: string): Promise<CommandResult> {
    const runtime = this.parts.loaded.findHere(name);
    if (!(runtime instanceof ModuleRuntime)) return runtime;
    runtime.journal.line("event", `Action drain called by ${by}`);
    const drained = await runtime.farm.drain(timeoutMs);
    if (drained.status !== 0) return drained;
    const stopped = await this.command(name, "stop", { by });
    await runtime.farm.forgive();
    return { ...stopped, message: `${drained.message}; ${stopped.message}` };
  }
}

/** Was a module where a command brings it? One that waits for something, or needs a human, is begun anew. */
function wasThere(command: ModuleCommand, { state, readiness, remedy }: NodeStatus): boolean {
  if (command === "start") return readiness === "Ready";
  return command === "stop" && state === "STOP" && readiness === "NotReady" && remedy === undefined;
}

/** As the failover core takes it. */
function coreCommand(
  name: ModuleCommand,
  { force, full, part }: { force: boolean; full: boolean; part: string | undefined },
): Command {
  if (name === "prim") return { name, force };
  if (name === "second") return { name, full };
  return name === "restart" && part !== undefined ? { name, part } : { name };
}

const ROLE_COMMANDS: ReadonlySet<ModuleCommand> = new Set(["prim", "second", "swap"]);

/** The result of a command on a module whose nodes have no roles: what only a mirror knows is wrong usage, and the others go on. */
function withoutRoles(command: ModuleCommand, result: CommandResult, runtime: ModuleRuntime): CommandResult {
  if (ROLE_COMMANDS.has(command)) return { ...result, status: 2 };
  if (result.status !== 0 || (command !== "stop" && command !== "forcestop")) return result;
  const up = runtime.partners.filter((node) => runtime.peerStatus(node).state === "UP");
  if (up.length === 0) return result;
  const goOn = up.length === 1 ? "goes on" : "go on";
  return { ...result, message: `${result.message}; ${up.join(", ")} ${goOn} (--all stops it everywhere)` };
}
