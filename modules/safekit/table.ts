/**
 * What each element and attribute of userconfig.xml becomes: the one place that knows it. The report's words come from here too.
 *
 * `to` is a path in module.yaml. In it, {} is the element's own key (a name, or the next number of a list), {-1} that of the element around it,
 * and + the next number of the list there.
 */
import { type ElementRow, none, same } from "./row.ts";
import { CHECK_ROWS } from "./table_checks.ts";
import { NETWORK_ROWS } from "./table_network.ts";
import { RFS_ROWS } from "./table_rfs.ts";
import { choice, duration, whole } from "./values.ts";

/** Names in scripts' environments that change what runs there, or that the import gives. */
const RESERVED = /^(SAFE[A-Z]*|SAFEKIT_.*|HOLDFAST.*|PATH|IFS|ENV|BASH_ENV|LD_.*|SHELLOPTS|BASHOPTS|PS4)$/;
const INHERENT = "Holdfast has nothing to set here";

/** By path below <safe>, without the levels that only hold others. */
export const ROWS: Readonly<Record<string, ElementRow>> = {
  safe: { attributes: {} },
  macro: {
    attributes: {
      name: same("its value stands where it was used"),
      value: same("put in place of the name"),
    },
  },
  service: {
    attributes: {
      mode: {
        verdict: "translated",
        to: "kind",
        convert: choice({ mirror: "mirror", farm: "farm", light: "light" }),
        absent: "mirror",
      },
      boot: {
        verdict: "translated",
        to: "boot",
        convert: choice({ on: "always", off: "never", auto: "auto", ignore: "never" }),
        absent: "ignore",
        cases: {
          ignore: {
            verdict: "approximated",
            to: "boot",
            say: "SafeKit asks what `safekit boot` was last told, which is not in the package; if it was on, say `holdfast boot NAME always`",
          },
        },
      },
      boot_delay: {
        verdict: "none",
        say: "modules start when the daemon does; wait in a prestart hook if something must be there first",
        cases: {
          "0": same("no delay"),
          "0s": same("no delay"),
        },
      },
      failover: {
        verdict: "translated",
        to: "failover",
        convert: choice({ on: "automatic", off: "manual" }),
        kinds: ["mirror"],
      },
      defaultprim: {
        verdict: "translated",
        to: "failback",
        kinds: ["mirror"],
        cases: {
          alone: same("as Holdfast does without failback: no swap when a node comes back"),
          lastprim: none("the node that is ALONE stays primary; name a node under failback to have it back"),
        },
      },
      maxloop: {
        verdict: "translated",
        to: "maxLoop.count",
        convert: (text, { get }) => (/^0[a-z]*$/.test(get("loop_interval") ?? "") ? undefined : whole(text)),
      },
      loop_interval: {
        verdict: "translated",
        to: "maxLoop.interval",
        convert: duration("h"),
        cases: Object.fromEntries(
          ["0", "0h", "0s", "0m"].map((zero) => [
            zero,
            { verdict: "translated", to: "maxLoop.count", set: 0, say: "no counting" } as const,
          ]),
        ),
      },
      automatic_reboot: {
        verdict: "none",
        say: "Holdfast does not reboot machines for a stopstart",
        cases: { off: same("as Holdfast does") },
      },
    },
  },
  user: {
    verdict: "approximated",
    say: "start scripts have a time limit here (timeouts.start, 5m unless you set it); SafeKit has none",
    attributes: {
      nicestoptimeout: { verdict: "translated", to: "timeouts.stop", convert: duration("s") },
      forcestoptimeout: {
        verdict: "translated",
        to: "timeouts.force",
        convert: duration("s"),
        absent: "300s",
      },
      logging: {
        verdict: "none",
        say: "what scripts print always goes to the module's script log",
        cases: {
          userlog: same("what scripts print goes to the module's script log"),
        },
      },
      userlogsize: none(INHERENT),
    },
  },
  "user/var": {
    key: ({ get }) => get("name") ?? "",
    attributes: {
      name: {
        verdict: "translated",
        say: "scripts find it in their environment under its own name",
        part: true,
      },
      value: {
        verdict: "translated",
        to: "vars.{}",
        convert: (text, { get }) => {
          if (RESERVED.test(get("name") ?? "")) throw new RangeError("this name is not a module's to set");
          return text;
        },
      },
    },
  },
  vhost: {
    attributes: {},
    verdict: "none",
    say: "programs see the machine's own name: use the virtual address, or set the name in the application",
  },
  "vhost/virtualhostname": {
    attributes: {
      name: none("programs see the machine's own name"),
      envfile: none("no such file is made; a script that sources it must not"),
      when: none("programs see the machine's own name"),
    },
  },
  failover: {
    attributes: {
      extends: {
        verdict: "none",
        say: "Holdfast has no built-in rules that a module could replace",
        cases: { yes: same("rules of a module add to Holdfast's own") },
      },
      period: none("there is no such setting"),
      handle_time: none(
        "there is no such setting: `failures` of a checker says how often in a row it must fail",
      ),
    },
  },
  ...NETWORK_ROWS,
  ...RFS_ROWS,
  ...CHECK_ROWS,
};

/** Elements that only hold others: they have no attributes and are no part of a row's path. */
export const HOLDERS: ReadonlySet<string> = new Set([
  "check",
  "interface_list",
  "real_interface",
  "loadbalancing_list",
]);
