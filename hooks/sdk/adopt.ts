/** Makes a process that another daemon started part of the module. */
import process from "node:process";
import { ADOPTED_FILE, addAdopted } from "../adopted.ts";
import { standIn } from "./stand_in.ts";

/**
 * From now on the process belongs to the module: when the node is fenced, or the module has stopped and it still runs, it is
 * killed like what the hooks started themselves. For what somebody else's daemon starts, such as the first process of a container
 * (whose end is the end of the others in it) or the process of a virtual machine. Throws when there is no such process. Outside
 * a module's hooks it does nothing: nobody is there to fence.
 */
export function adopt(pid: number): void {
  if (!Number.isSafeInteger(pid) || pid <= 1) throw new TypeError(`${pid} is not a process to adopt`);
  const tested = standIn();
  const file = process.env[ADOPTED_FILE];
  if (tested) tested.adopt(pid);
  else if (file !== undefined) addAdopted(file, pid);
}
