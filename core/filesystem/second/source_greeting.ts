/** SECOND: what it makes of the source's hello, which says whether this copy may follow and how much of it is copied. */
import type { Frame } from "../../replication/operation.ts";
import type { Host } from "../host.ts";
import { otherVersion, parseSourceHello, type SourceHello } from "../stream/hello.ts";
import type { Link } from "../stream/link.ts";
import type { CopyStanding } from "./copy_standing.ts";
import type { Dialer } from "./dialer.ts";
import type { SecondPoints } from "./second_points.ts";

/** See the top of the file. */
export class SourceGreeting {
  readonly #host: Host;
  readonly #standing: CopyStanding;
  readonly #points: SecondPoints;
  readonly #dialer: Dialer;
  readonly #save: () => void;

  /** `save` keeps aside what this node wrote alone; it throws when that cannot be. */
  constructor(host: Host, standing: CopyStanding, points: SecondPoints, dialer: Dialer, save: () => void) {
    this.#host = host;
    this.#standing = standing;
    this.#points = points;
    this.#dialer = dialer;
    this.#save = save;
  }

  /** Returns how this copy may follow; null: not at all, and the link is closed. Throws when what this node wrote alone cannot be kept aside. */
  take(link: Link, frame: Frame, now: number): SourceHello["mode"] | null {
    const other = otherVersion("primary", frame.flags);
    if (other !== null) {
      link.close(other);
      return null;
    }
    const hello = parseSourceHello(frame.data.copy());
    this.#standing.answered(hello);
    this.#points.greeted(hello.copy.id, hello.copy.counter);
    if (hello.mode === "full") this.#host.log("info", `the primary copies everything: ${hello.detail}`);
    if (hello.mode === "refused") {
      this.#dialer.refused(now);
      const relation = hello.relation === "split-brain" ? "split-brain" : "unrelated";
      this.#host.report({ kind: "refused", relation, detail: hello.detail });
      link.close(hello.detail);
      return null;
    }
    this.#keepAside(hello, now);
    return hello.mode;
  }

  #keepAside(hello: SourceHello, now: number): void {
    try {
      this.#standing.giveWay(hello, this.#save);
    } catch (error) {
      this.#dialer.failed(now);
      throw error;
    }
  }
}
