/**
 * Does the machine run? With `heartbeat: yes`, its integration services must be heard too.
 */
import { defineChecker } from "holdfast";
import { machineOf } from "../lib/machine.ts";

export default defineChecker(async ({ vars }) => {
  const machine = await machineOf(vars);
  if (machine === null) return { state: "down", detail: `Hyper-V does not know ${vars.vm}` };
  if (machine.state !== "Running") return { state: "down", detail: `${vars.vm} is ${machine.state}` };
  if (vars.heartbeat === "yes" && !machine.heartbeat.startsWith("Ok"))
    return { state: "down", detail: `the heartbeat of ${vars.vm} is ${machine.heartbeat}` };
  return { state: "up", detail: "" };
});
