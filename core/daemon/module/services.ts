/**
 * The `services:` of one module: started after its start hook, in order; stopped before its stop hook, in reverse. So a hook can prepare what
 * they need, and clear away what they leave.
 */

import type { HookCall } from "../../../hooks/context.ts";
import { runHook } from "../../../hooks/runner.ts";
import type { ModuleConfig } from "../../../modules/schema.ts";
import type { Effect } from "../../failover/types.ts";
import { permitOf } from "../../services/permits.ts";
import { lookAtUnits, type Unit } from "../../services/units.ts";
import type { Outcome } from "./supervisor.ts";

const done: Outcome = { ok: true, detail: "" };

/** What is done to the services around a hook, or nothing. */
export function actAround(
  kind: ModuleConfig["kind"],
  hook: Extract<Effect, { do: "hook" }>["hook"],
): "start" | "stop" | null {
  const role = kind === "mirror" ? "prim" : "both";
  // Before anything is mounted or started, nothing of the application may run.
  if (hook === "prestart" || hook === `stop_${role}`) return "stop";
  return hook === `start_${role}` ? "start" : null;
}

/** What a child is to start or stop: with permits for these units. */
interface One {
  name: string;
  units: string[];
}

/** What fencing needs: files that let units start, and cgroups to kill. */
export interface ServiceTargets {
  permits: readonly string[];
  cgroups: readonly string[];
}

/** See the top of the file. */
export class ModuleServices {
  #units: readonly Unit[] = [];

  /** Asks systemd for the units: before a module may run here, so that it can be fenced. */
  async look(names: readonly string[]): Promise<void> {
    this.#units = names.length === 0 ? [] : await lookAtUnits(names);
  }

  get targets(): ServiceTargets {
    return {
      permits: this.#units.flatMap(({ units }) => units.map(permitOf)),
      cgroups: this.#units.flatMap(({ cgroups }) => cgroups),
    };
  }

  /** A service with its units, or a unit that is not one of the module's services. */
  one(name: string): One {
    const known = this.#units.find((unit) => unit.name === name);
    return { name, units: [...(known?.units ?? [])] };
  }

  /** In a child, within `timeoutMs`: all of them, or one. */
  async change(
    act: "start" | "stop" | "restart",
    context: HookCall,
    timeoutMs: number,
    run: Pick<Parameters<typeof runHook>[0], "outputFile" | "eraseOutput" | "onOutput"> & {
      signal: AbortSignal;
    },
    one: One | null = null,
  ): Promise<Outcome> {
    const services = one ? [one] : this.#units.map(({ name, units }) => ({ name, units: [...units] }));
    if (services.length === 0) return done;
    let trouble = "";
    const result = await runHook({
      ...run,
      file: "",
      kind: "typescript",
      services: {
        act,
        force: context.force,
        services,
      },
      context: { ...context, hook: `services (${act})` },
      timeoutMs: Math.max(1, timeoutMs),
      onOutput: (line) => {
        if (/^\w*error: /i.test(line)) trouble = line.replace(/^\w*error: /i, "");
        run.onOutput(line);
      },
    });
    return { ok: result.ok, detail: result.ok || trouble === "" ? result.detail : trouble };
  }
}
