/** The scripts of a package as hooks: each hook is a few lines of sh that run the script as it came, in the surroundings that it knows. */
import { HOOK_NAMES, type ModuleHook, startsLikeProgram } from "../hook_files.ts";
import type { ReportLine } from "./report.ts";
import type { Verdict } from "./row.ts";
import runText from "./run.txt" with { type: "text" };
import safekitText from "./safekit.txt" with { type: "text" };
import type { ZipFile } from "./zip.ts";

/** A file of the module to be. */
export interface MadeFile {
  content: Buffer;
  executable: boolean;
}

/** The folder of everything that came from the package, and of what its scripts call. */
export const FOLDER = "safekit";
/** Where the package says what the module is. */
export const CONFIGURATION = "conf/userconfig.xml";

const WINDOWS = /\.(cmd|bat|ps1|vbs|exe|psm1)$/i;
/** Scripts that SafeKit calls and Holdfast does not, each with what to do. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  postconfig: "there is no such hook: call it at the end of hooks/config",
  confcheck: "there is no such hook: `holdfast module check` checks the module",
  update: "there is no such hook: the next start sees the new configuration",
  state: "there is no such hook",
  level: "there is no such hook",
  checkers: "there is no such hook: checkers stand in module.yaml",
};
const SEC = new Set(["start_sec", "stop_sec"]);

/** What became of the scripts. */
export interface Scripts {
  files: Map<string, MadeFile>;
  report: ReportLine[];
}

function hookText(hook: string): string {
  return `#!/bin/sh
# Runs safekit/bin/${hook} as SafeKit would. Written by holdfast module import; safekit/run says how.
exec /bin/sh "\${HOLDFAST_DIR:?}/${FOLDER}/run" ${hook} "$@"
`;
}

function program(text: string): MadeFile {
  return { content: Buffer.from(text), executable: true };
}

function hasCrLf(content: Buffer): boolean {
  return content.subarray(0, 4096).includes("\r\n") && startsLikeProgram(content);
}

/** What becomes of one file; with a hook, one is made that runs it. */
interface Fate {
  verdict: Verdict;
  say: string;
  hook?: ModuleHook;
  /** Not taken into the module. */
  left?: true;
}

/**
 * Makes hooks of the package's files. `variables` are the names of the module's vars; `run` is false where SafeKit runs no script. Only what
 * scripts can use is kept: keys, above all, are not.
 */
export function makeScripts(
  packed: ReadonlyMap<string, ZipFile>,
  variables: readonly string[],
  run: boolean,
): Scripts {
  const files = new Map<string, MadeFile>();
  const report: ReportLine[] = [];
  for (const [path, { content, executable }] of packed) {
    const { verdict, say, hook, left } = path.startsWith("bin/")
      ? fateOf(path.slice("bin/".length), content, run)
      : fateOfOther(path);
    const to = left ? null : hook ? `hooks/${hook}` : `${FOLDER}/${path}`;
    if (path !== CONFIGURATION)
      report.push({ file: path, line: null, what: to ?? "left out", verdict, to, say });
    if (left) continue;
    files.set(`${FOLDER}/${path}`, {
      content,
      executable: executable || (path.startsWith("bin/") && startsLikeProgram(content)),
    });
    if (hook) files.set(`hooks/${hook}`, program(hookText(hook)));
    if (run && SEC.has(path.slice("bin/".length)))
      files.set("hooks/transition", program(hookText("transition")));
  }
  const exports = variables.map((name) => `export ${name}="\${HOLDFAST_VAR_${name}-}"\n`).join("");
  files.set(`${FOLDER}/variables`, {
    content: Buffer.from(`# The module's vars, under their own names.\n${exports}`),
    executable: false,
  });
  files.set(`${FOLDER}/run`, program(runText));
  files.set(`${FOLDER}/safekit`, program(safekitText));
  return { files, report };
}

function fateOfOther(path: string): Fate {
  if (/(^|\/)modulekey\./.test(path))
    return { verdict: "none", say: "nodes have certificates of their own", left: true };
  if (path.startsWith("conf/"))
    return { verdict: "none", say: "no use is known; scripts find it in $SAFEUSERCONF" };
  return { verdict: "none", say: "not used", left: true };
}

function fateOf(name: string, content: Buffer, run: boolean): Fate {
  const none = (say: string): Fate => ({ verdict: "none", say });
  const stem = name.replace(/\.[^.]*$/, "");
  if (WINDOWS.test(name))
    return none(
      HOOK_NAMES.some((known) => known === stem)
        ? `a script of Windows: kept; write hooks/${stem}.ts`
        : "a script of Windows: kept",
    );
  const hook = HOOK_NAMES.find((known) => known === name);
  if (!run && (hook || SEC.has(name)))
    return none("SafeKit runs no script without <user>, and userconfig.xml has none");
  if (Object.hasOwn(ELSEWHERE, name)) return none(ELSEWHERE[name]!);
  if (name.startsWith("_rfs_")) return none("replication calls no scripts");
  if (SEC.has(name))
    return {
      verdict: "approximated",
      say: "called by hooks/transition when the node becomes, or no longer is, SECOND or ALONE; its failure stops nothing",
    };
  if (hook === undefined)
    return { verdict: "translated", say: "no hook: there for the scripts that use it, in $SAFEUSERBIN" };
  return { hook, ...hookFate(hook, content) };
}

function hookFate(hook: ModuleHook, content: Buffer): Fate {
  const caution = hasCrLf(content)
    ? "; its lines end in CR LF, so no shell of Linux runs it: convert it"
    : startsLikeProgram(content)
      ? ""
      : "; it has no first line such as #!/bin/sh, so sh runs it";
  if (hook.startsWith("start_"))
    return {
      verdict: "approximated",
      say: `its exit status is said and does not count, as in SafeKit; \`safekit stop\` or \`stopstart\` in it lets the peer take over${caution}`,
    };
  if (hook === "config" || hook === "deconfig")
    return {
      verdict: "approximated",
      say: `called when ${hook === "config" ? "a revision is applied, before it counts; its failure refuses it" : "the module is removed"}, for 10 s at most${caution}`,
    };
  const say = hook.startsWith("stop_")
    ? "called twice, the second time with force, as in SafeKit"
    : "called with the same arguments";
  return { verdict: caution === "" ? "translated" : "approximated", say: say + caution };
}
