/**
 * What moves an address or a route at your provider, to be filled in; with `move: none` nothing of it is used.
 *
 * `call` and `Patience` in api.ts do the waiting, the second attempts and the messages. The instance's own credentials belong here, not a user's.
 */
import type { Place, Provider } from "./move.ts";

const missing = async (_address: string, _place: Place): Promise<never> => {
  throw new Error(
    "lib/provider.ts does not say how your provider moves it: fill it in, or set vars.move to none",
  );
};

/** See Provider. */
export const provider: Provider = { takeAddress: missing, takeRoute: missing };
