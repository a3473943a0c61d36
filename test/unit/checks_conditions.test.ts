/** The language of rules: against a second evaluator that works on the text in quite another way, and where errors are said to be. */
import t from "tap";
import { holds, RESOURCE_STATES, type Resources } from "../../core/checks/condition.ts";
import { ConditionError, parseCondition } from "../../core/checks/condition_text.ts";

const NAMES = ["tcp.db", "tcp.web", "ping.gateway", "ip.10.77.0.100", "custom.a-b"];
const ASKED = [...NAMES, "tcp.*", "tcp.?", "ping.*", "custom.?", "http.*", "http.?", "disk.none"];
const CASES = 20_000;

/** A small generator that tells the same numbers for the same seed (mulberry32). */
function chance(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let x = Math.imul(a ^ (a >>> 15), 1 | a);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  };
}

function draw(next: () => number, depth: number): string {
  const roll = next();
  const space = () => " ".repeat(Math.floor(next() * 3));
  if (depth > 0 && roll < 0.25)
    return `${draw(next, depth - 1)}${space()}&&${space()}${draw(next, depth - 1)}`;
  if (depth > 0 && roll < 0.5)
    return `${draw(next, depth - 1)}${space()}||${space()}${draw(next, depth - 1)}`;
  if (depth > 0 && roll < 0.62) return `!${space()}${draw(next, depth - 1)}`;
  if (depth > 0 && roll < 0.78) return `(${space()}${draw(next, depth - 1)}${space()})`;
  const where = ["", "local.", "remote."][Math.floor(next() * 3)]!;
  const name = ASKED[Math.floor(next() * ASKED.length)]!;
  const state = RESOURCE_STATES[Math.floor(next() * 4)]!;
  return `${where}${name}${space()}${next() < 0.6 ? "==" : "!="}${space()}${state}`;
}

function world(next: () => number): Resources {
  return Object.fromEntries(
    NAMES.filter(() => next() < 0.8).map((name) => [name, RESOURCE_STATES[Math.floor(next() * 4)]!]),
  );
}

/** The reference: each comparison in the text becomes true or false, and the runtime's own operators do the rest. */
function reference(text: string, local: Resources, remote: Resources): boolean {
  const words = text.replace(
    /(local\.|remote\.)?([a-z]+\.[A-Za-z0-9.*?-]+)\s*(==|!=)\s*([a-z]+)/g,
    (_, where: string | undefined, name: string, operator: string, state: string) => {
      const resources = where === "remote." ? remote : local;
      const [type] = name.split(".");
      const every = Object.keys(resources).filter((known) => known.split(".")[0] === type);
      const asked = /[*?]/.test(name)
        ? every.map((known) => resources[known])
        : [resources[name] ?? "unknown"];
      const others = RESOURCE_STATES.filter((other) => other !== state && other !== "init");
      const answers = asked.map((value) =>
        (operator === "==" ? [state] : others).some((one) => one === value),
      );
      const isTrue = name.endsWith("?")
        ? answers.includes(true)
        : answers.length > 0 && !answers.includes(false);
      return isTrue ? " 1 " : " 0 ";
    },
  );
  if (!/^[01!&|() ]+$/.test(words)) throw new Error(`the reference does not understand ${words}`);
  return Boolean(new Function(`return ${words}`)());
}

t.test(`${CASES} conditions hold where a second evaluator says so`, async (t) => {
  const next = chance(20261126);
  const wrong: string[] = [];
  let held = 0;
  for (let index = 0; index < CASES; index++) {
    const text = draw(next, 5);
    const [local, remote] = [world(next), world(next)];
    const answer = holds(parseCondition(text), local, remote);
    if (answer) held++;
    if (answer !== reference(text, local, remote))
      wrong.push(`${text} in ${JSON.stringify({ local, remote })}`);
  }
  t.same(wrong.slice(0, 3), []);
  t.ok(held > CASES / 5 && held < (4 * CASES) / 5, `${held} of them held`);
});

t.test("what cannot be read is refused where it goes wrong", async (t) => {
  const cases: [string, number, RegExp][] = [
    ["ping.gateway = down", 13, /"=" means nothing here/],
    ["tcp.db == dwn", 10, /expected a state: init, up, down, unknown, found dwn/],
    ["tcp.db == down &&", 17, /expected a resource .* found the end/],
    ["tcp.db == down tcp.web == up", 15, /expected &&, \|\| or the end, found tcp\.web/],
    ["(tcp.db == down", 15, /expected "\)", found the end/],
    ["tcp == down", 0, /expected a resource .* found tcp/],
    ["  tcp.d*b == up", 2, /expected a resource/],
    ["tcp.db down", 7, /expected == or !=, found down/],
    ["", 0, /expected a resource .* found the end/],
    [`${"!".repeat(100)}tcp.db == up`, 64, /nested too deeply/],
  ];
  for (const [text, offset, message] of cases) {
    try {
      parseCondition(text);
      t.fail(`${JSON.stringify(text)} was read`);
    } catch (error) {
      t.ok(error instanceof ConditionError, text);
      t.match(error, { offset, message }, text);
    }
  }
});
