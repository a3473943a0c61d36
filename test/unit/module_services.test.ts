/** Around which hooks the services of a module are started and stopped. */
import t from "tap";
import { actAround } from "../../core/daemon/module/services.ts";
import type { HookName } from "../../core/failover/types.ts";

const HOOKS =
  "prestart start_prim stop_prim start_second stop_second start_both stop_both poststop transition";

t.test("services run where the application does, and stop before anything else begins", async (t) => {
  const acts = (kind: "mirror" | "farm" | "light") =>
    HOOKS.split(" ").flatMap((hook) => {
      const act = actAround(kind, hook as HookName);
      return act === null ? [] : [`${hook}: ${act}`];
    });
  t.same(acts("mirror"), ["prestart: stop", "start_prim: start", "stop_prim: stop"]);
  for (const kind of ["farm", "light"] as const)
    t.same(acts(kind), ["prestart: stop", "start_both: start", "stop_both: stop"]);
});
