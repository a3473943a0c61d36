/**
 * Looks, at the right time: gives the pure judgement its clock, each look its deadline, and tells what changed.
 *
 * A look that does not end in time is a finding, not a delay: nobody waits for it, and the next begins once it has ended.
 */
import { formatDuration } from "../../modules/units.ts";
import { isLooking } from "../failover/rules.ts";
import type { CheckScope } from "../failover/types.ts";
import type { ResourceState } from "./condition.ts";
import { begin, type Finding, type Judgement, judge, looks } from "./judgement.ts";
import type { Check } from "./module_checks.ts";
import { down, type Probe, words } from "./probe.ts";

/** What the runner works for. */
export interface CheckHost {
  /** How to look. `notice`: something happened, look now. */
  probe(check: Check, notice: () => void): Probe;
  /** A resource has this state now. */
  found(resource: string, state: ResourceState, detail: string): void;
  /** Did a person switch this one off? */
  isOff(resource: string): boolean;
}

/** Runs the checks of one module. */
export class CheckRunner {
  #checks: readonly Check[] = [];
  #scope: CheckScope = "none";
  readonly #watches = new Map<string, Watch>();
  readonly #resting = new Set<string>();

  constructor(private readonly host: CheckHost) {}

  /** Goes on with these checks; one that says the same as before is not disturbed. */
  configure(checks: readonly Check[]): void {
    const same = new Map(this.#checks.map((check) => [check.resource, JSON.stringify(check)]));
    this.#checks = checks;
    const kept = new Set(
      checks.filter((check) => same.get(check.resource) === JSON.stringify(check)).map((c) => c.resource),
    );
    for (const resource of this.#watches.keys()) if (!kept.has(resource)) this.#end(resource);
    for (const check of checks) if (!kept.has(check.resource)) this.host.found(check.resource, "init", "");
    this.#attend();
  }

  /** Those that look in this scope begin, the others end: what they had found means nothing any more. */
  look(scope: CheckScope): void {
    this.#scope = scope;
    for (const { resource, when } of this.#checks)
      if (!isLooking(when, scope)) {
        this.#end(resource);
        this.host.found(resource, "init", "");
      }
    this.#attend();
  }

  /** One does not look for a while: what it looks at is being started again. Then it begins anew. */
  rest(resource: string, isResting: boolean): void {
    if (isResting) this.#resting.add(resource);
    else this.#resting.delete(resource);
    if (!this.#checks.some((check) => check.resource === resource)) return;
    this.#end(resource);
    this.host.found(resource, "init", "");
    this.#attend();
  }

  /** A person switched some on or off. */
  switched(): void {
    for (const { resource } of this.#checks) if (this.host.isOff(resource)) this.#end(resource);
    this.#attend();
  }

  /** Nothing looks any more. */
  close(): void {
    for (const resource of [...this.#watches.keys()]) this.#end(resource);
  }

  #attend(): void {
    for (const check of this.#checks) {
      const { resource } = check;
      if (!isLooking(check.when, this.#scope) || this.#watches.has(resource) || this.#resting.has(resource))
        continue;
      if (this.host.isOff(resource)) this.host.found(resource, "unknown", "its checker is off");
      else this.#watches.set(resource, new Watch(check, this.host));
    }
  }

  #end(resource: string): void {
    this.#watches.get(resource)?.close();
    this.#watches.delete(resource);
  }
}

/** One check that looks. */
class Watch {
  #judgement: Judgement;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #looking: AbortController | null = null;
  /** Something happened while it looked: what it finds may be old. */
  #isStale = false;
  #isClosed = false;
  readonly #probe: Probe;

  constructor(
    private readonly check: Check,
    private readonly host: CheckHost,
  ) {
    this.#judgement = begin(check.rhythm, performance.now());
    this.#probe = host.probe(check, () => this.#notice());
    this.#schedule(0);
  }

  close(): void {
    this.#isClosed = true;
    if (this.#timer) clearTimeout(this.#timer);
    this.#looking?.abort();
    this.#probe.close?.();
  }

  #notice(): void {
    if (this.#looking) this.#isStale = true;
    else this.#schedule(0);
  }

  #schedule(ms: number): void {
    if (this.#isClosed) return;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#look(), ms);
  }

  async #look(): Promise<void> {
    this.#timer = null;
    const { rhythm } = this.check;
    this.#judgement = looks(rhythm, this.#judgement, performance.now());
    const looking = new AbortController();
    this.#looking = looking;
    this.#isStale = false;
    const { promise: late, resolve } = Promise.withResolvers<Finding>();
    const limit = setTimeout(() => {
      looking.abort();
      resolve(down(`no answer within ${formatDuration(rhythm.timeout)}`));
    }, rhythm.timeout);
    const look = this.#probe
      .look(looking.signal)
      .catch((error: unknown) => (looking.signal.aborted ? late : down(words(error))));
    const finding = await Promise.race([look, late]);
    clearTimeout(limit);
    this.#take(finding);
    await this.#outlast(look);
    this.#looking = null;
    this.#schedule(this.#isStale ? 0 : Math.max(0, this.#judgement.next - performance.now()));
  }

  /** What cannot be interrupted is waited for before the next look, and counts as one more failure each time that one is due. */
  async #outlast(look: Promise<Finding>): Promise<void> {
    const ended = look.then(() => true);
    const due = (): Promise<false> =>
      Bun.sleep(Math.max(1, this.#judgement.next - performance.now())).then(() => false);
    while (!(await Promise.race([ended, due()])) && !this.#isClosed) {
      this.#judgement = looks(this.check.rhythm, this.#judgement, performance.now());
      this.#take(down("the last look still hangs"));
    }
  }

  #take(finding: Finding): void {
    if (this.#isClosed) return;
    this.#judgement = judge(this.check.rhythm, this.#judgement, finding, performance.now());
    this.host.found(this.check.resource, this.#judgement.state, this.#judgement.detail);
  }
}
