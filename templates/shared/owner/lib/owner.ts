/**
 * Files that another node made belong to its user's number, and here that user may have another one.
 */
import { statSync } from "node:fs";
import { $, log } from "holdfast";

/** Gives the directory to the user when its number is another one on this node than on the one that made the files. */
export async function giveTo(user: string, directory: string): Promise<void> {
  const uid = Number(await $`id -u ${user}`.text());
  if (statSync(directory).uid === uid) return;
  log.warning(
    `${directory} belongs to user number ${statSync(directory).uid}, and ${user} is ${uid} on this node: changing it. Give ${user} the same number on both nodes, and a failover is spared this`,
  );
  // The directory itself last: when this is interrupted, it is done again.
  await $`find ${directory} -depth -exec chown -h ${user}: {} +`;
}
