/** Which promise holds when the nodes of a mirror cannot hear each other. */
import t from "tap";
import { isolationPromise } from "../../core/daemon/isolation.ts";
import type { WitnessConfig } from "../../core/witness/config.ts";
import { witnessPromise } from "../../core/witness/promise.ts";
import type { ModuleConfig } from "../../modules/schema.ts";

t.test("by kind and settings", async (t) => {
  const of = (settings: Partial<Extract<ModuleConfig, { kind: "mirror" }>>) =>
    isolationPromise({
      kind: "mirror",
      failover: "automatic",
      onIsolation: "continue",
      ...settings,
    } as ModuleConfig);
  t.match(of({}), { isExclusive: false, words: /^if .*, both run \(/ });
  t.match(of({ onIsolation: "wait" }), {
    isExclusive: true,
    words: /only the primary runs \(onIsolation: wait/,
  });
  t.match(of({ failover: "manual" }), { isExclusive: true, words: /failover: manual/ });
  const mirror = { kind: "mirror", failover: "automatic", onIsolation: "continue" } as ModuleConfig;
  t.match(isolationPromise(mirror, false, true), {
    isExclusive: true,
    words: /hook fence has cut its power/,
  });
  const witnessed = isolationPromise(mirror, true);
  t.match(witnessed, { isExclusive: true, words: /the witness records/ });
  t.equal(isolationPromise({ kind: "farm" } as ModuleConfig), null, "a farm's nodes all run");
});

t.test("what a witness is worth, and what it means that it does not answer", async (t) => {
  const ping: WitnessConfig = { kind: "ping", addresses: ["10.0.0.254"] };
  const etcd: WitnessConfig = { kind: "etcd", endpoints: ["http://10.0.0.9:2379"] };
  t.match(witnessPromise(etcd), /one goes on, never both/);
  t.match(witnessPromise(etcd, false), /lose each other both stop.*prim NAME --force/);
  t.match(witnessPromise(ping), /may both run/);
  t.match(witnessPromise(ping, false), /does not go on alone/);
  t.match(witnessPromise(null), /onIsolation: continue/);
});
