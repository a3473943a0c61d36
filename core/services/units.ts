/**
 * Services of the machine as systemd knows them, and how a module keeps them in its own hands.
 *
 * A drop-in with a condition (systemd.unit(5), ConditionPathExists) is put beside each unit: it starts only while the module lets it. So
 * neither a boot, nor an upgrade of its package, nor its own `Restart=` starts it on a node that must not run it. Whether it is enabled is
 * not touched: when the drop-in is removed everything is as it was. A condition changes nothing for a unit that runs.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { permit, permitOf } from "./permits.ts";

/** A service of a module. */
export interface Unit {
  /** As module.yaml says it. */
  name: string;
  /** Its unit, and those that are started and stopped with it: such as postgresql@15-main.service beside postgresql.service. */
  units: readonly string[];
  /** Their cgroups, below the hierarchy's root. */
  cgroups: readonly string[];
  isActive: boolean;
  isInstalled: boolean;
  /** What systemd goes by is older than what lies on disk. */
  isStale: boolean;
}

const PLACE = "/etc/systemd/system";
/** How long systemd may take to answer, ms: nothing waits for a system that hangs. */
const ANSWER_MS = 5000;

/** Is there a systemd to ask? */
const hasSystemd = (): boolean => existsSync("/run/systemd/system");

async function systemctl(args: readonly string[], signal?: AbortSignal): Promise<string> {
  const child = Bun.spawn(["systemctl", "--no-ask-password", ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8" },
    timeout: ANSWER_MS,
    killSignal: "SIGKILL",
    ...(signal ? { signal } : {}),
  });
  const [text, trouble, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (status !== 0) throw new Error(`systemctl ${args[0]} failed with status ${status}: ${trouble.trim()}`);
  return text;
}

type Properties = Readonly<Record<string, string>>;
const ASKED = "Id,LoadState,ActiveState,MainPID,ControlGroup,Slice,ConsistsOf,NeedDaemonReload";

/** What systemd says of each, in the order asked. */
async function show(names: readonly string[], signal?: AbortSignal): Promise<Properties[]> {
  if (names.length === 0) return [];
  const text = await systemctl(["show", "--property", ASKED, "--", ...names], signal);
  return text
    .trimEnd()
    .split("\n\n")
    .map((block) =>
      Object.fromEntries(
        block.split("\n").map((line) => {
          const at = line.indexOf("=");
          return [line.slice(0, at), line.slice(at + 1)];
        }),
      ),
    );
}

/** `system-a.slice` lies in `system.slice`: the cgroup of a unit that has none yet. See systemd.slice(5). */
function cgroupOf({ Id = "", Slice = "", ControlGroup = "" }: Properties): string {
  if (ControlGroup !== "") return ControlGroup;
  const parts = Slice === "" || Slice === "-.slice" ? [] : Slice.replace(/\.slice$/, "").split("-");
  return `/${[...parts.map((_, index) => `${parts.slice(0, index + 1).join("-")}.slice`), Id].join("/")}`;
}

/** Asks systemd about the services of a module. Throws when it does not answer; without a systemd there are only names. */
export async function lookAtUnits(names: readonly string[]): Promise<Unit[]> {
  if (!hasSystemd()) return names.map((name) => bare(name));
  const found = await show(names);
  return await Promise.all(
    names.map(async (name, index): Promise<Unit> => {
      const own = found[index] ?? {};
      const others = (own["ConsistsOf"] ?? "").split(" ").filter((unit) => unit.endsWith(".service"));
      const all = [own, ...(await show(others))];
      return {
        name,
        units: [own["Id"] ?? bare(name).units[0]!, ...others],
        cgroups: all.map(cgroupOf),
        isActive: all.some(({ ActiveState }) => ActiveState === "active" || ActiveState === "activating"),
        isInstalled: own["LoadState"] === "loaded",
        isStale: all.some(({ NeedDaemonReload }) => NeedDaemonReload === "yes"),
      };
    }),
  );
}

/** What systemd says of a service now (`controlGroup` below the hierarchy's root, "" where it has none); null where there is no systemd. Throws when it does not answer. */
export async function stateOf(
  name: string,
  signal: AbortSignal,
): Promise<{ activeState: string; mainPid: number; controlGroup: string } | null> {
  if (!hasSystemd()) return null;
  const [own = {}] = await show([name], signal);
  return {
    activeState: own["ActiveState"] ?? "unknown",
    mainPid: Number(own["MainPID"] ?? 0),
    controlGroup: own["ControlGroup"] ?? "",
  };
}

function bare(name: string): Unit {
  const unit = /\.(service|socket|timer|target|mount|path)$/.test(name) ? name : `${name}.service`;
  return { name, units: [unit], cgroups: [], isActive: false, isInstalled: false, isStale: false };
}

/** Whose drop-ins: two nodes on one machine differ by their var directory. */
interface Owner {
  module: string;
  varDir: string;
}

const firstLine = ({ module, varDir }: Owner): string => `# Holdfast, module ${module} of ${varDir}:`;
const fileName = ({ module }: Owner): string => `50-holdfast-${module}.conf`;

function text(owner: Owner, unit: string): string {
  return `${firstLine(owner)} it starts and stops this unit, on the node that is to run it. It is not started
# otherwise, neither at boot nor by an upgrade of its package. Removed with the module; whether the unit is enabled was not changed.
[Unit]
ConditionPathExists=${permitOf(unit)}
`;
}

/** The drop-ins of a module that are there, by unit. */
function dropIns(owner: Owner): Map<string, string> {
  const found = new Map<string, string>();
  if (!existsSync(PLACE)) return found;
  for (const name of readdirSync(PLACE).filter((one) => one.endsWith(".d"))) {
    const file = join(PLACE, name, fileName(owner));
    if (existsSync(file) && readFileSync(file, "utf8").startsWith(firstLine(owner)))
      found.set(name.slice(0, -".d".length), file);
  }
  return found;
}

/** Makes exactly these services wait for the module: those that it does not name any more start as before. Returns what was done, in words. */
export async function manageServices(owner: Owner, names: readonly string[]): Promise<string[]> {
  if (!hasSystemd())
    return names.length === 0
      ? []
      : [`there is no systemd on this node: services (${names.join(", ")}) cannot be started here`];
  const before = dropIns(owner);
  const wanted = await lookAtUnits(names);
  const said: string[] = [];
  // A crash between a drop-in and systemd's look at it is made good.
  let changed = wanted.some(({ isStale }) => isStale);
  for (const { name, units, isActive, isInstalled } of wanted) {
    const missing = units.filter((unit) => !before.has(unit));
    for (const unit of missing) write(owner, unit, isActive);
    for (const unit of units) before.delete(unit);
    if (missing.length === 0) continue;
    changed = true;
    said.push(
      `${name} starts with the module only, not at boot${isInstalled ? "" : " (it is not installed yet)"}${isActive ? "; it runs now, and is left alone until the module starts or stops here" : ""}`,
    );
  }
  // First without effect, so that one which is gone can never be in force.
  for (const file of before.values()) writeFileSync(file, `${firstLine(owner)} it was given back.\n`);
  if (changed || before.size > 0) await systemctl(["daemon-reload"]);
  for (const [unit, file] of before) {
    rmSync(file);
    removeIfEmpty(dirname(file));
    said.push(`${unit} starts by itself again, as it did before`);
  }
  if (before.size > 0) await systemctl(["daemon-reload"]);
  return said;
}

/** A unit that runs may be started again by its own `Restart=`, as before, until the module has it. */
function write(owner: Owner, unit: string, isActive: boolean): void {
  if (isActive) permit(unit);
  const directory = join(PLACE, `${unit}.d`);
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  writeFileSync(join(directory, fileName(owner)), text(owner, unit), { mode: 0o644 });
}

function removeIfEmpty(directory: string): void {
  if (readdirSync(directory).length === 0) rmdirSync(directory);
}
