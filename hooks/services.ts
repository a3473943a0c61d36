/**
 * What a child of the hook runner does for `services:`: starts them in order, stops them in reverse, and lets systemd start them only in between.
 *
 * A unit that a module manages has a condition (core/services/units.ts): it starts only while its file in /run is there. The file goes before
 * the unit is stopped, so that nothing, not even its own `Restart=`, starts it again.
 */
import * as v from "valibot";
import { forbid, permit } from "../core/services/permits.ts";
import { service } from "./sdk/service.ts";
import { $ } from "./sdk/shell.ts";

/** One order: services in the order of module.yaml, each with the units that are started and stopped with it. */
export const serviceOrderSchema = v.object({
  act: v.picklist(["start", "stop", "restart"]),
  /** What does not stop in time is killed. */
  force: v.boolean(),
  services: v.array(v.object({ name: v.string(), units: v.array(v.string()) })),
});

/** See above. */
export type ServiceOrder = v.InferOutput<typeof serviceOrderSchema>;

const STOPPED: ReadonlySet<string> = new Set(["inactive", "failed", "unknown"]);
/** Of the time for a stop by force, what a service has before it is killed. */
const PATIENCE = 0.5;

/** Carries an order out. Throws with the name of the service that did not do what it should. */
export async function changeServices(order: ServiceOrder, timeoutMs: number): Promise<void> {
  if (order.act === "restart") for (const one of order.services) await restart(one, timeoutMs);
  else if (order.act === "start") for (const one of order.services) await start(one, timeoutMs);
  else for (const one of order.services.toReversed()) await stop(one, order.force, timeoutMs);
}

type One = ServiceOrder["services"][number];

async function restart(one: One, timeoutMs: number): Promise<void> {
  const end = performance.now() + timeoutMs;
  await stop(one, false, timeoutMs * PATIENCE);
  await start(one, end - performance.now());
}

async function start({ name, units }: One, timeoutMs: number): Promise<void> {
  const unit = service(name, { timeout: `${Math.round(timeoutMs)}ms` });
  for (const each of units) permit(each);
  // How often it was started of late is for maxLoop to judge: systemd would refuse the fifth start within ten seconds.
  await $`systemctl reset-failed ${name}`.nothrow().quiet();
  await unit.start();
  const status = await unit.status();
  if (status !== "active")
    throw new Error(`service ${name} is ${status} after its start: see systemctl status ${name}`);
  console.log(`service ${name} is started`);
}

async function stop({ name, units }: One, force: boolean, timeoutMs: number): Promise<void> {
  const unit = service(name, { timeout: `${Math.round(force ? timeoutMs * PATIENCE : timeoutMs)}ms` });
  for (const each of units) forbid(each);
  if (STOPPED.has(await unit.status())) return;
  await unit.stop({ force });
  console.log(`service ${name} is stopped`);
}
