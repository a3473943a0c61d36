/** How the model says that a call must fail. */
import { errnos } from "../../core/platform/linux/errno.ts";

/** A failed call: thrown inside, returned as -errno. */
export class Failure {
  constructor(readonly errno: number) {}
}

/** Throws it. */
export const fail = (name: keyof typeof errnos): never => {
  throw new Failure(-errnos[name]);
};
