/** Commands about secrets: they go in, and only names and dates come out. */

import * as v from "valibot";
import { moduleNameProblem } from "../../../modules/mod.ts";
import type { CommandResult, HeldSecrets } from "../../daemon/engine.ts";
import { secretKeySchema } from "../../secrets/secrets.ts";
import { WITNESS_SECRETS } from "../../witness/config.ts";
import { type Command, CommandError, EXIT, type ExitStatus, type Invocation } from "../command.ts";
import { ask, request } from "../node.ts";
import { columns } from "../output.ts";
import { readSecret } from "../secret_input.ts";

/** On one node: the newest value that any has, an older one, none, one that it cannot open, or the node does not answer. */
type Presence = "current" | "older" | "missing" | "unreadable" | "unknown";

/** One secret of `secret list --json`; `since` and `setOn` are null where no node has a value. */
interface ListedSecret {
  key: string;
  declared: boolean;
  since: string | null;
  setOn: string | null;
  nodes: Record<string, Presence>;
}

/** Refused here already: a wrong name is not worth a question for the value. */
function namesOf({ arguments: { NAME, KEY } }: Invocation): { name: string; key: string; path: string } {
  const problem = moduleNameProblem(NAME!);
  if (problem !== "") throw new CommandError(EXIT.usage, problem);
  const key = v.safeParse(secretKeySchema, KEY);
  if (!key.success) throw new CommandError(EXIT.usage, `KEY: ${key.issues[0].message}`);
  return { name: NAME!, key: key.output, path: `/secrets/${NAME}/${key.output}` };
}

async function setSecret(invocation: Invocation): Promise<ExitStatus> {
  const { name, key, path } = namesOf(invocation);
  const value = await readSecret(`${key} of ${name}`, invocation.flags.has("exact"));
  return await ask(invocation, "setting it", "PUT", path, { value: value.toString("base64") });
}

async function removeSecret(invocation: Invocation): Promise<ExitStatus> {
  return await ask(invocation, "removing it", "DELETE", namesOf(invocation).path);
}

async function listSecrets(invocation: Invocation): Promise<ExitStatus> {
  const { varDir, output } = invocation;
  const { NAME, KEY } = invocation.arguments;
  const problem = moduleNameProblem(NAME!);
  if (problem !== "") throw new CommandError(EXIT.usage, problem);
  const where = { varDir, target: { node: null, all: true } };
  const { data } = await output.progress("asking every node", request(where, "GET", `/secrets/${NAME}`));
  const held = Object.entries(data as Record<string, CommandResult>).map(
    ([node, answer]) => [node, answer.status === EXIT.done ? (answer.data as HeldSecrets) : null] as const,
  );
  const secrets = listed(held).filter(({ key }) => KEY === undefined || key === KEY);
  if (KEY !== undefined && secrets.length === 0)
    throw new CommandError(EXIT.usage, `${NAME} has no secret ${KEY}, and lists none of that name`);
  const rows = secrets.map(({ key, declared, since, setOn, nodes }) => [
    key,
    since === null ? output.paint("red", "no value") : since.slice(0, 19).replace("T", " "),
    setOn ?? "",
    Object.entries(nodes)
      .map(([node, presence]) => (presence === "current" ? node : `${node} (${presence})`))
      .join(", "),
    declared || NAME === WITNESS_SECRETS ? "" : "not listed in module.yaml",
  ]);
  output.say(
    rows.length > 0
      ? columns([["KEY", "SINCE (UTC)", "SET ON", "NODES"], ...rows])
      : `${NAME} has no secrets: holdfast secret set ${NAME} KEY`,
  );
  output.give({ version: 1, module: NAME, secrets });
  return EXIT.done;
}

/** What all nodes hold, by key. */
export function listed(held: readonly (readonly [string, HeldSecrets | null])[]): ListedSecret[] {
  const declared = new Set(held.flatMap(([, holds]) => holds?.declared ?? []));
  const newest = new Map<string, HeldSecrets["secrets"][number]>();
  for (const one of held.flatMap(([, holds]) => holds?.secrets ?? [])) {
    const known = newest.get(one.key);
    if (!known || one.since > known.since || (one.since === known.since && one.version > known.version))
      newest.set(one.key, one);
  }
  const presence = (key: string, holds: HeldSecrets | null): Presence => {
    if (holds === null) return "unknown";
    const own = holds.secrets.find((one) => one.key === key);
    if (!own) return "missing";
    if (own.isLocked) return "unreadable";
    return own.version === newest.get(key)!.version ? "current" : "older";
  };
  return [...new Set([...declared, ...newest.keys()])]
    .sort((a, b) => (a < b ? -1 : 1))
    .map((key) => ({
      key,
      declared: declared.has(key),
      since: newest.get(key)?.since ?? null,
      setOn: newest.get(key)?.setOn ?? null,
      nodes: Object.fromEntries(held.map(([node, holds]) => [node, presence(key, holds)])),
    }));
}

const NAME_ARGUMENT = {
  name: "NAME",
  help: "the module, which need not be there yet; or witness, for the credentials of the cluster's witness",
};
const KEY_ARGUMENT = { name: "KEY", help: "as module.yaml lists it under secrets" };

/** See the top of the file. */
export const SECRET_COMMANDS: readonly Command[] = [
  {
    name: "secret set",
    summary: "Give a module's hooks a secret: a password, a key, a token",
    arguments: [NAME_ARGUMENT, KEY_ARGUMENT],
    options: { exact: { help: "keep the line end of a value that is one line" } },
    changes:
      "Every node keeps the value, sealed to its own key; one that is away takes it when it is back. Hooks get it from their next run on; what runs is not told.",
    details:
      "The value comes from standard input, up to 64 KiB, text or not; a terminal asks for it twice and does not show it. The line end that echo puts behind one line does not count, a file of several lines stays as it is.",
    examples: [
      "holdfast secret set db db_password",
      "holdfast secret set db tls_key < server.key",
      "holdfast secret set witness password",
      "pass show db | holdfast secret set db db_password",
    ],
    run: setSecret,
  },
  {
    name: "secret list",
    summary: "List a module's secrets: since when, and which nodes have them",
    arguments: [NAME_ARGUMENT, { ...KEY_ARGUMENT, help: "only this one", optional: true }],
    changes: "Nothing. Values are never shown.",
    details:
      "A node without a word behind it has the newest value. Others: older, missing, unreadable (the node's own key was lost: set it again), unknown (it does not answer).",
    examples: ["holdfast secret list db", "holdfast secret list db db_password --json"],
    run: listSecrets,
  },
  {
    name: "secret remove",
    summary: "Take a secret away from a module, on every node",
    arguments: [NAME_ARGUMENT, KEY_ARGUMENT],
    changes:
      "The value is gone on every node; one that is away forgets it when it is back. A module that lists it does not start without a value.",
    examples: ["holdfast secret remove db db_password"],
    run: removeSecret,
  },
];
