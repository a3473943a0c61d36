/**
 * The containers of this module, found by their labels: what is left of them after a crash is found too.
 */
import { $, adopt, log } from "holdfast";

type Vars = Readonly<Record<string, string>>;

/** A container, as far as we look at it. */
export interface Container {
  id: string;
  name: string;
  /** running, exited, created, paused … */
  status: string;
  exitCode: number;
  /** Process id of its first process, 0 when it does not run. */
  pid: number;
  /** healthy, unhealthy, starting, or "" for one without a health check. */
  health: string;
  /** What the engine does when it ends: no, always, … */
  restart: string;
  /** Where in the container volumes of the engine's own are mounted. */
  volumes: string[];
}

/** What `inspect` says, in the words that Docker and Podman share. */
interface Inspected {
  Id: string;
  Name: string;
  State: { Status: string; ExitCode: number; Pid: number; Health?: { Status?: string } | null };
  HostConfig: { RestartPolicy?: { Name?: string } | null };
  Mounts?: { Type: string; Destination: string }[] | null;
}

/** The label by which containers of the module are known; a compose project has one of its own. */
export const labelOf = (module: string) => `holdfast.module=${module}`;

/** All of the module's containers on this node, whatever their state. */
export async function containersOf({ engine }: Vars, module: string): Promise<Container[]> {
  const labelled = (label: string) =>
    $`${engine} ps --all --quiet --no-trunc --filter label=${label}`.lines();
  const ids = [
    ...(await labelled(labelOf(module))),
    ...(await labelled(`com.docker.compose.project=${module}`)),
  ];
  if (ids.length === 0) return [];
  const all = (await $`${engine} inspect --type container ${[...new Set(ids)]}`.json()) as Inspected[];
  return all.map(({ Id, Name, State, HostConfig, Mounts }) => ({
    id: Id,
    name: Name.replace(/^\//, ""),
    status: State.Status,
    exitCode: State.ExitCode,
    pid: State.Pid,
    health: State.Health?.Status ?? "",
    restart: HostConfig.RestartPolicy?.Name || "no",
    volumes: (Mounts ?? []).filter(({ Type }) => Type === "volume").map(({ Destination }) => Destination),
  }));
}

/** Is this the first process of a container that does its work? */
export const runs = ({ status, pid }: Container) => status === "running" && pid > 0;

/** "web ended with status 1": what is wrong with the first one that does not work, or "" when all do. */
export function trouble(containers: readonly Container[]): string {
  if (containers.length === 0) return "there is no container";
  const broken = containers.find((one) => !runs(one) || one.health === "unhealthy");
  if (!broken) return "";
  if (runs(broken)) return `${broken.name} is unhealthy`;
  return broken.status === "exited"
    ? `${broken.name} ended with status ${broken.exitCode}`
    : `${broken.name} is ${broken.status}`;
}

/** The containers' processes are children of the engine: fencing does not reach them unless they are named. */
export function adoptAll(containers: readonly Container[]): void {
  for (const one of containers) if (runs(one)) adopt(one.pid);
}

/** Removes them, running or not; what they keep in the replicated directory stays. */
export async function removeAll({ engine }: Vars, containers: readonly Container[]): Promise<void> {
  if (containers.length === 0) return;
  await $`${engine} rm --force ${containers.map(({ id }) => id)}`.quiet();
  log(`removed: ${containers.map(({ name }) => name).join(", ")}`);
}

/** Whether this node has the image already. */
export async function hasImage({ engine, image }: Vars): Promise<boolean> {
  return (await $`${engine} image inspect ${image}`.nothrow().quiet()).exitCode === 0;
}
