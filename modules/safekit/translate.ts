/** Walks userconfig.xml along the table: settings for module.yaml, and one entry of the report for each thing in the file. */
import { leftMacro, Macros } from "./macros.ts";
import type { AttributeRow, ElementRow, Place } from "./row.ts";
import { readRules } from "./rules.ts";
import type { Entry, Setting } from "./settings.ts";
import { HOLDERS, ROWS } from "./table.ts";
import type { Element } from "./xml.ts";
import { PackageInvalid } from "./zip.ts";

/** What a file means to Holdfast, before anyone has asked whether this version takes it. */
export interface Translation {
  kind: Place["kind"];
  settings: Setting[];
  entries: Entry[];
  /** SafeKit runs scripts only where there is a <user>. */
  runsScripts: boolean;
}

interface Around {
  element: Element;
  key: string | number;
}

/** What YAML files of modules may not have as keys. */
const NO_KEYS = new Set(["__proto__", "prototype", "constructor"]);
/** Levels that are no part of a row's path. */
const OUTER = new Set(["safe", "service"]);

/** Translates the file. Throws PackageInvalid when it is no configuration of a module. */
export function translate(root: Element, file: string): Translation {
  if (root.name !== "safe")
    throw new PackageInvalid(`${file}:${root.line}: the outermost element is ${root.name}, not safe`);
  const services = root.children.filter(({ name }) => name === "service");
  if (services.length !== 1)
    throw new PackageInvalid(
      `${file}:${root.line}: there are ${services.length} <service> elements, not one`,
    );
  new Macros(root, file).apply(root, file);
  const service = services[0]!;
  const mode = service.attributes.get("mode");
  const kind = mode?.value ?? "mirror";
  if (kind !== "mirror" && kind !== "farm" && kind !== "light")
    throw new PackageInvalid(
      `${file}:${mode?.line}: mode is ${JSON.stringify(kind.slice(0, 40))}, not mirror, farm or light`,
    );
  const walk = new Walk(kind);
  walk.visit(root, "", []);
  replicationLans(service, walk);
  return {
    kind,
    settings: walk.settings,
    entries: walk.entries,
    runsScripts: service.children.some(({ name }) => name === "user"),
  };
}

class Walk {
  readonly settings: Setting[] = [];
  readonly entries: Entry[] = [];
  readonly #next = new Map<string, number>();

  constructor(readonly kind: Place["kind"]) {}

  visit(element: Element, parent: string, around: readonly Around[]): void {
    const outer = OUTER.has(element.name) && parent === "";
    const name = HOLDERS.has(element.name)
      ? parent
      : parent === ""
        ? element.name
        : `${parent}/${element.name}`;
    const row = HOLDERS.has(element.name)
      ? { attributes: {} }
      : Object.hasOwn(ROWS, name)
        ? ROWS[name]
        : undefined;
    const say = (entry: Omit<Entry, "element">) => this.#add({ element: element.name, ...entry });
    if (row === undefined) {
      say({
        line: element.line,
        verdict: "none",
        say: "unknown here, with all in it: see whether the module needs it",
      });
      return;
    }
    const place = placeOf(element, this.kind, around);
    const key = this.#keyOf(row, place);
    const keys = [...around.map((one) => one.key), key];
    if (row.verdict !== undefined) {
      const entry = say({ line: element.line, verdict: row.verdict, say: row.say ?? "" });
      if (row.to !== undefined && row.value !== undefined) this.#set(row.to, row.value(place), keys, entry);
    }
    for (const [attribute, { value, line }] of element.attributes)
      this.#attribute(row, attribute, { value, line, given: true }, place, keys);
    for (const [attribute, { absent }] of Object.entries(row.attributes))
      if (absent !== undefined && !element.attributes.has(attribute))
        this.#attribute(row, attribute, { value: absent, line: element.line, given: false }, place, keys);
    if (name === "failover") this.#rules(element);
    for (const child of element.children)
      this.visit(
        child,
        outer ? "" : name,
        HOLDERS.has(element.name) ? around : [...around, { element, key }],
      );
  }

  #add(entry: Entry): Entry {
    this.entries.push(entry);
    return entry;
  }

  #number(list: string): number {
    const number = this.#next.get(list) ?? 0;
    this.#next.set(list, number + 1);
    return number;
  }

  #keyOf(row: ElementRow, place: Place): string | number {
    const key = row.key?.(place) ?? "";
    if (key === "+" && row.list !== undefined) return this.#number(row.list);
    return row.unique && key !== "" ? this.#unique(place.element.name, key) : key;
  }

  /** The name, or for its second bearer NAME_2. */
  #unique(family: string, name: string): string {
    const number = this.#number(`${family} ${name}`);
    return number === 0 ? name : `${name.slice(0, 28)}_${number + 1}`;
  }

  /** Puts a value at a path of the table. */
  #set(to: string, value: unknown, keys: readonly (string | number)[], entry: Entry): void {
    if (value === undefined) return;
    const path: (string | number)[] = [];
    for (const part of to.split(".")) {
      const key =
        part === "{}"
          ? keys.at(-1)
          : part === "{-1}"
            ? keys.at(-2)
            : part === "+"
              ? this.#number(path.join("."))
              : part;
      if (key === undefined || key === "") {
        Object.assign(entry, { verdict: "none", say: "it belongs to nothing that is translated" });
        return;
      }
      if (NO_KEYS.has(String(key))) {
        Object.assign(entry, { verdict: "none", say: `${key} cannot be a name in module.yaml` });
        return;
      }
      path.push(key);
    }
    entry.to ??= path;
    entry.value ??= value;
    this.settings.push({ path, value, entry });
  }

  #attribute(
    row: ElementRow,
    attribute: string,
    { value, line, given }: { value: string; line: number; given: boolean },
    place: Place,
    keys: readonly (string | number)[],
  ): void {
    const entry = this.#add({
      element: place.element.name,
      attribute,
      text: value,
      given,
      line,
      verdict: "none",
      say: "",
      source: place.element,
    });
    const none = (say: string, refused = false) => {
      Object.assign(entry, { verdict: "none", say, ...(refused ? { refused } : {}) });
    };
    const rule = Object.hasOwn(row.attributes, attribute) ? row.attributes[attribute] : undefined;
    const refusal = this.#refusal(rule, value, place);
    if (refusal !== "" || rule === undefined) {
      none(refusal);
      return;
    }
    const special =
      rule.cases !== undefined && Object.hasOwn(rule.cases, value) ? rule.cases[value] : undefined;
    const { verdict, say = "" } = special ?? rule;
    Object.assign(entry, { verdict, say, ...(rule.part ? { part: true } : {}) });
    const to = special === undefined ? rule.to : special.to;
    if (to === undefined) return;
    try {
      const converted = special?.set ?? (rule.convert ? rule.convert(value, place) : value);
      this.#set(typeof to === "string" ? to : to(place), converted, keys, entry);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      none(error.message, true);
    }
  }

  /** Why an attribute cannot even be looked at, or "". */
  #refusal(rule: AttributeRow | undefined, value: string, { element }: Place): string {
    if (rule === undefined) return "unknown here: see whether the module needs it";
    if (rule.kinds !== undefined && !rule.kinds.includes(this.kind))
      return `without effect in a module of kind ${this.kind}`;
    const macro = element.name === "macro" ? null : leftMacro(value);
    return macro === null
      ? ""
      : `${macro} is no macro of this file; SafeKit takes it from the environment of the day: write the value`;
  }

  #rules(element: Element): void {
    for (const rule of readRules(element.text, element.textLine)) {
      const entry = this.#add({
        element: "failover",
        text: rule.source,
        line: rule.line,
        verdict: rule.verdict,
        say: rule.say,
      });
      if (rule.label === undefined) continue;
      const label = this.#unique("rule", rule.label);
      // biome-ignore lint/suspicious/noThenProperty: the contract's own word for what a rule does.
      this.#set(`rules.${label}`, { if: rule.condition, then: rule.action }, [], entry);
    }
  }
}

function placeOf(element: Element, kind: Place["kind"], around: readonly Around[]): Place {
  return {
    element,
    kind,
    get: (name) => element.attributes.get(name)?.value,
    around: (name, attribute) =>
      around.findLast((one) => one.element.name === name)?.element.attributes.get(attribute)?.value,
  };
}

/** The networks of replication, in order: the one of the flow first, which is the first heartbeat's where none is named. */
function replicationLans(service: Element, walk: Walk): void {
  const child = (name: string) => service.children.find((element) => element.name === name);
  const rfs = child("rfs");
  if (!rfs) return;
  const beats = (child("heart")?.children ?? []).filter(({ name }) => name === "heartbeat");
  const nameOf = (element: Element | undefined) => element?.attributes.get("name")?.value;
  const flow =
    nameOf(rfs.children.find(({ name }) => name === "flow")) ??
    nameOf(beats.find((beat) => beat.attributes.get("ident")?.value === "flow"));
  const names = [flow, ...beats.map(nameOf)].filter((name) => name !== undefined);
  const entry: Entry = {
    element: "rfs",
    line: rfs.line,
    verdict: "translated",
    say:
      flow === undefined
        ? "no flow is named: replication prefers the first heartbeat's network"
        : "the flow's network first, the others when it fails",
    to: ["replicate", "lans"],
  };
  if (names.length === 0) return;
  walk.entries.push(entry);
  for (const [index, value] of [...new Set(names)].entries())
    walk.settings.push({ path: ["replicate", "lans", index], value, entry });
}
