/** userconfig.xml to module.yaml: processes and checkers. */
import { type AttributeRow, type ElementRow, none, type Place, same } from "./row.ts";
import { choice, duration, exactly, expression, hostPort, resourceName, whole } from "./values.ts";

const CLASSES = { prim: "prim", both: "both", pre: "pre", second: "second", sec: "second" };
const ACTIONS = { restart: "restart", stopstart: "stopstart", stop: "stop", wait: "wait", noaction: "none" };

const when = (to: string): AttributeRow => ({
  verdict: "translated",
  to: `${to}.{}.when`,
  convert: choice({ pre: "pre", prim: "prim", second: "second", both: "both" }),
});

const action = (to: string, absent: string): AttributeRow => ({
  verdict: "translated",
  to: `${to}.{}.action`,
  convert: choice(ACTIONS),
  absent,
});

const rhythm = (to: string): Record<string, AttributeRow> => ({
  interval: { verdict: "translated", to: `${to}.{-1}.interval`, convert: duration("s") },
  timeout: { verdict: "translated", to: `${to}.{-1}.timeout`, convert: duration("s") },
});

const byIdent = ({ get }: Place): string => resourceName(get("ident") ?? "");
const ident: AttributeRow = {
  part: true,
  verdict: "translated",
  say: "the checker's name; what cannot stand in one becomes _",
};

const ofProcess = (text: string, place: Place): string => {
  if (place.get("service") === "yes") throw new RangeError("a service is watched by its name alone");
  return expression(text);
};

const CUSTOM =
  "a checker of Holdfast answers once for each call and does not loop: write checkers/NAME.ts; the program is kept in safekit/bin";
const ELSEWHERE = "the nodes of this cluster are asked over their own connections";
const WITNESS =
  "a witness is the cluster's: see `witness` of cluster.yaml, `{ ping: [ADDRESS] }` among others";

export const CHECK_ROWS: Readonly<Record<string, ElementRow>> = {
  errd: { attributes: { polltimer: none("there is no such setting") } },
  "errd/proc": {
    key: ({ get }) =>
      Object.hasOwn(CLASSES, get("class") ?? "") && Object.hasOwn(ACTIONS, get("action") ?? "stopstart")
        ? resourceName(get("name") ?? "")
        : "",
    unique: true,
    attributes: {
      name: {
        verdict: "translated",
        to: ({ get }) => `processes.{}.${get("service") === "yes" ? "unit" : "regex"}`,
        convert: (text, { get }) =>
          get("service") === "yes" ? text : get("nameregex") === undefined ? exactly(text) : undefined,
      },
      service: {
        verdict: "translated",
        say: "watched as a unit of systemd; `services:` would start and stop it too, in the place of the scripts",
        cases: { no: same("a process") },
      },
      nameregex: { verdict: "translated", to: "processes.{}.regex", convert: ofProcess },
      argregex: { verdict: "translated", to: "processes.{}.argumentsRegex", convert: ofProcess },
      class: {
        verdict: "translated",
        to: "processes.{}.when",
        convert: choice(CLASSES),
        cases: { sec: { verdict: "approximated", to: "processes.{}.when", say: "on SECOND; not on ALONE" } },
      },
      action: {
        verdict: "translated",
        to: "processes.{}.action",
        convert: choice(ACTIONS),
        absent: "stopstart",
      },
      restart_services: none(
        "what is under `services:` is started again alone; so is a process, with a hook restart_process",
      ),
      start_after: none("watched from the end of the start script on"),
      atleast: { verdict: "translated", to: "processes.{}.min", convert: (text) => Math.max(0, whole(text)) },
      atmax: {
        verdict: "translated",
        to: "processes.{}.max",
        convert: (text) => (whole(text) < 0 ? undefined : whole(text)),
      },
    },
  },
  tcp: {
    key: byIdent,
    unique: true,
    attributes: { ident, when: when("checkers.tcp"), action: action("checkers.tcp", "restart") },
  },
  "tcp/to": {
    attributes: {
      addr: {
        verdict: "translated",
        to: "checkers.tcp.{-1}.address",
        convert: (host, { get }) => hostPort(host, get("port") ?? ""),
      },
      port: { verdict: "translated", say: "a part of the address", part: true },
      ...rhythm("checkers.tcp"),
    },
  },
  ping: {
    key: byIdent,
    unique: true,
    attributes: {
      ident,
      when: { ...when("checkers.ping"), absent: "pre" },
      action: action("checkers.ping", "wait"),
    },
  },
  "ping/to": {
    attributes: {
      addr: { verdict: "translated", to: "checkers.ping.{-1}.address" },
      ...rhythm("checkers.ping"),
    },
  },
  intf: {
    attributes: {
      ident: none("an interface is watched by its name: write it under checkers.interface"),
      when: none("see its ident"),
      action: none("see its ident"),
    },
  },
  "intf/to": { attributes: { local_addr: none("an interface is named, not found by an address of it") } },
  ip: {
    key: byIdent,
    unique: true,
    attributes: { ident, when: when("checkers.ip"), action: action("checkers.ip", "stopstart") },
  },
  "ip/to": {
    attributes: {
      addr: { verdict: "translated", to: "checkers.ip.{-1}.address" },
      interval: rhythm("checkers.ip")["interval"]!,
    },
  },
  custom: {
    attributes: {
      ident: none(CUSTOM),
      when: none("say it under checkers.custom.NAME"),
      exec: none(CUSTOM),
      arg: none("a checker reads the module's vars"),
      action: none("say it under checkers.custom.NAME"),
    },
  },
  module: {
    key: ({ get }) => resourceName(get("ident") ?? get("name") ?? ""),
    unique: true,
    verdict: "approximated",
    say: "when the other module is started again, this one is not",
    attributes: {
      name: { verdict: "translated", to: "checkers.module.{}.name" },
      ident,
      action: action("checkers.module", "wait"),
    },
  },
  "module/to": {
    attributes: {
      addr: {
        verdict: "approximated",
        to: "checkers.module.{-1}.on",
        convert: () => "anywhere",
        say: "asked of every node of this cluster, wherever it serves; a module of another cluster cannot be asked",
      },
      port: none(ELSEWHERE),
      secure: none(ELSEWHERE),
      ...rhythm("checkers.module"),
    },
  },
  splitbrain: {
    verdict: "approximated",
    to: "onIsolation",
    value: () => "wait",
    say: "without a witness in cluster.yaml a secondary does not take over from a primary that falls silent",
    attributes: {
      ident: none("there is no resource of that name"),
      exec: none(WITNESS),
      arg: none(WITNESS),
      when: none("always"),
      action: none("wait, always"),
    },
  },
};
