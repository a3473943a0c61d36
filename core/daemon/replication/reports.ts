/**
 * What a module's replication process reports, for the core and for people; and another process in its place when it dies under a live mount.
 */
import type { DurableRecord, ModuleState, ReplicationReport } from "../../failover/types.ts";
import type { ReintegrationProgress, ReplicationCounters } from "../../filesystem/control.ts";
import type { Journal } from "../journal.ts";
import type { ReplicationLink } from "./link.ts";
import { type Replacement, replaceProcess } from "./replacement.ts";

/** What the reports are read for. */
export interface ReportListener {
  /** The module's state on this node. */
  state(): ModuleState;
  /** For the core. */
  onReport(report: ReplicationReport): void;
  /** Bytes of the peer came, at most `ageMs` ago. */
  onStream(ageMs: number): void;
  /** What another process needs to know. */
  replacement(): Omit<Replacement, "generations">;
  generations(): DurableRecord["generations"];
}

/** See the top of the file. */
export class ReplicationReports {
  #reintegration: ReintegrationProgress | null = null;
  #counters: ReplicationCounters | null = null;
  #countedAt = 0;
  #heldUntil: number | null = null;
  #replacing = false;

  constructor(
    private readonly link: ReplicationLink,
    private readonly journal: Journal,
    private readonly listener: ReportListener,
  ) {
    link.on("report", (report) => listener.onReport(report));
    link.on("log", ({ level, text }) => journal.line(level, text));
    link.on("progress", ({ reintegration, counters, heldUntil = null }) => {
      const now = performance.now();
      // What came since the last report may have come just after it.
      if (counters.bytesReceived > (this.#counters?.bytesReceived ?? counters.bytesReceived))
        listener.onStream(now - this.#countedAt);
      this.#reintegration = reintegration;
      this.#counters = counters;
      this.#countedAt = now;
      this.#heldUntil = heldUntil;
    });
    link.on("finished", ({ bytes, files, durationMs, full }) => {
      const seconds = (durationMs / 1000).toFixed(1);
      journal.line(
        "event",
        `Reintegration ended (${full ? "full" : "incremental"}): ${files} files, ${bytes} bytes, ${seconds} s`,
      );
    });
    link.on("lost", (asked) => this.#processLost(asked));
  }

  /** The reintegration under way, as this end counts it. */
  get reintegration(): ReintegrationProgress | null {
    return this.#reintegration;
  }

  /** As the primary: the secondary hung, and is not let in before this, ms since 1970; null: nobody is kept out. */
  get heldUntil(): number | null {
    const until = this.#heldUntil;
    return until !== null && Date.now() < until ? until : null;
  }

  get counters(): ReplicationCounters | null {
    return this.#counters;
  }

  /** The replication process is gone. Under a live mount another takes its place; else the core decides. */
  #processLost(asked: boolean): void {
    const state = this.listener.state();
    if (asked || this.#replacing || (state !== "PRIM" && state !== "ALONE")) {
      this.#processDied("the replication process is gone");
      return;
    }
    this.#replacing = true;
    this.link.holdUntil(this.#replace());
  }

  async #replace(): Promise<void> {
    const { listener } = this;
    const problem = await replaceProcess({
      ...listener.replacement(),
      generations: () => listener.generations(),
    });
    this.#replacing = false;
    if (problem !== "") {
      this.#processDied(`it could not be replaced: ${problem}`);
      return;
    }
    this.journal.line("warning", "The replication process died: another took over its live mounts");
    this.streamEnded();
  }

  #processDied(detail: string): void {
    this.listener.onReport({ kind: "died", detail });
  }

  /** A new process begins without a peer: the core must go on alone, durably, before anything is acknowledged. */
  streamEnded(): void {
    this.listener.onReport({ kind: "peerGone", cause: "the replication process was replaced", held: true });
  }
}
