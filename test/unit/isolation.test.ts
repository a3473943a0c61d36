/** Which promise holds when the nodes of a mirror cannot hear each other. */
import t from "tap";
import { isolationPromise } from "../../core/daemon/isolation.ts";
import type { ModuleConfig } from "../../modules/schema.ts";

t.test("by kind and settings", async (t) => {
  const of = (settings: Partial<Extract<ModuleConfig, { kind: "mirror" }>>) =>
    isolationPromise({
      kind: "mirror",
      failover: "automatic",
      onIsolation: "continue",
      ...settings,
    } as ModuleConfig);
  t.match(of({}), { isExclusive: false, words: /both nodes run/ });
  t.match(of({ onIsolation: "wait" }), {
    isExclusive: true,
    words: /only the primary runs \(onIsolation: wait/,
  });
  t.match(of({ failover: "manual" }), { isExclusive: true, words: /failover: manual/ });
  const witnessed = isolationPromise(
    { kind: "mirror", failover: "automatic", onIsolation: "continue" } as ModuleConfig,
    true,
  );
  t.match(witnessed, { isExclusive: true, words: /the witness records/ });
  t.equal(isolationPromise({ kind: "farm" } as ModuleConfig), null, "a farm's nodes all run");
});
