/** What hooks and checkers are told. */

/** What the daemon says about one call of a hook. */
export interface HookCall {
  module: string;
  node: string;
  kind: "mirror" | "farm" | "light";
  /** The hook's name, such as start_prim. */
  hook: string;
  /** The command or transition that this call belongs to: start, stop, restart, swap, takeover … */
  action: string;
  from: string;
  to: string;
  /** A sentence: why. */
  cause: string;
  /** True for the second call of a stop hook that failed or ran over its time. */
  force: boolean;
  /** 1 for the first call, counting within one transition. */
  attempt: number;
  /** `vars` of module.yaml. */
  vars: Record<string, string>;
  /** The module's directory. */
  dir: string;
  peers: { name: string; addresses: Record<string, string> }[];
  /** Of restart_process: which of module.yaml's `processes`. */
  process?: string;
}

/** What a hook's function gets. */
export interface HookContext extends HookCall {
  /** Aborted shortly before the hook's time limit. */
  signal: AbortSignal;
}

/** What a checker's function gets. */
export interface CheckerContext {
  module: string;
  node: string;
  /** The resource's name, such as custom.orders. */
  resource: string;
  vars: Readonly<Record<string, string>>;
  dir: string;
  /** Aborted shortly before the checker's time limit. */
  signal: AbortSignal;
}

/** What a checker may answer; a throw or a time-out is down, with the reason. */
export type CheckerResult = boolean | { state: "up" | "down"; detail?: string };
