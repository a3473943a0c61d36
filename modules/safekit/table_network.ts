/** userconfig.xml to module.yaml: heartbeats, farms, virtual addresses, load balancing. */
import { isIP } from "node:net";
import { type AttributeRow, type ElementRow, none, OF_CLUSTER, type Place, same } from "./row.ts";
import { choice, duration, milliseconds, prefixLength, resourceName, whole } from "./values.ts";

const lan: AttributeRow = {
  verdict: "translated",
  to: "heartbeat.lans.+",
  say: "a network of the same name must be in cluster.yaml",
};

/** The time after which a farm's node is taken for lost: so many packets missed. */
function lostAfter(count: string, { get }: Place): string {
  return duration("ms")(String(whole(count) * milliseconds(get("pulse") ?? "100ms", "ms")));
}

/** A virtual address with its prefix and, where one is named, its interface. Without a netmask the usual prefix is taken. */
function virtualIp(text: string, { get, around }: Place): object {
  const address = text.replace(/^\[(.*)\]$/, "$1");
  const version = isIP(address);
  if (version === 0)
    throw new RangeError(`${JSON.stringify(text)} is a name: Holdfast wants the address itself`);
  const netmask = get("netmask");
  const prefix = netmask === undefined ? (version === 4 ? 24 : 64) : prefixLength(netmask);
  const name = around("interface", "name");
  return { address: `${address}/${prefix}`, ...(name === undefined ? {} : { interface: name }) };
}

const announced: AttributeRow = {
  verdict: "approximated",
  say: "Holdfast announces the address by itself when it moves, a few times in a row",
};

const AS_INTERFACE = "as the interface's";
const virtualAddress: ElementRow = {
  list: "virtualIps",
  key: () => "+",
  attributes: {
    addr: {
      verdict: "translated",
      to: "virtualIps.{}",
      convert: virtualIp,
    },
    netmask: {
      verdict: "translated",
      say: "as the length of the prefix",
      absent: AS_INTERFACE,
      cases: {
        [AS_INTERFACE]: { verdict: "approximated", say: "/24 is written, /64 for IPv6: put it right" },
      },
      part: true,
    },
    where: {
      verdict: "translated",
      part: true,
      say: "where the application serves",
      cases: {
        one_side: {
          verdict: "approximated",
          say: "the address comes and goes with the primary, but what the node sends itself does not carry it",
        },
      },
    },
    check: {
      verdict: "translated",
      to: ({ get }) => `checkers.ip.${resourceName(`vip_${get("addr")}`)}`,
      absent: "on",
      convert: (_, { get, kind }) => ({
        address: get("addr"),
        when: kind === "mirror" ? "prim" : "both",
        action: "stopstart",
      }),
      say: "a checker of the address, with stopstart",
      cases: { off: same("no checker of the address") },
    },
    connections: {
      verdict: "none",
      say: "connections are not counted",
      cases: { off: same("not counted") },
    },
  },
};

export const NETWORK_ROWS: Readonly<Record<string, ElementRow>> = {
  heart: {
    attributes: {
      port: OF_CLUSTER,
      pulse: { verdict: "translated", to: "heartbeat.interval", convert: duration("ms") },
      timeout: {
        verdict: "translated",
        to: "heartbeat.timeout",
        convert: duration("ms"),
        absent: "30000ms",
        cases: {
          "30000ms": {
            verdict: "approximated",
            say: "SafeKit's default of 30 s is left out: Holdfast's own (3s) finds a dead node sooner",
          },
          "30s": {
            verdict: "translated",
            to: "heartbeat.timeout",
            say: "long: Holdfast's default is 3s",
          },
        },
      },
      permanent_arp: none("Holdfast touches no neighbour table of its peers"),
    },
  },
  "heart/heartbeat": {
    attributes: {
      name: lan,
      ident: {
        verdict: "approximated",
        say: "the resource is called heartbeat.LAN, after the network",
        cases: { flow: same("this network comes first under replicate.lans") },
      },
      pulse: none("one interval holds for all networks"),
      timeout: none("one timeout holds for all networks"),
    },
  },
  "heart/heartbeat/server": {
    attributes: { addr: OF_CLUSTER },
  },
  "heart/server": { attributes: { addr: OF_CLUSTER } },
  farm: {
    attributes: {
      port: OF_CLUSTER,
      pulse: { verdict: "translated", to: "heartbeat.interval", convert: duration("ms") },
      mlost_count: {
        verdict: "approximated",
        to: "heartbeat.timeout",
        convert: lostAfter,
        say: "as a time: so many times the pulse",
      },
      slost_count: none("a farm has no leader: one timeout holds for all nodes"),
    },
  },
  "farm/lan": { attributes: { name: lan } },
  "farm/lan/node": {
    attributes: {
      name: OF_CLUSTER,
      addr: OF_CLUSTER,
    },
  },
  vip: {
    attributes: {
      tcpreset: {
        verdict: "translated",
        say: "connections to the address are reset when it leaves",
        cases: {
          off: none("connections to the address are reset when it leaves, always"),
        },
      },
      scriptcontrol: {
        verdict: "none",
        say: "the address is up before start_both and down after stop_both",
        cases: { off: same("as Holdfast does") },
      },
    },
  },
  "vip/interface": {
    attributes: {
      check: {
        verdict: "translated",
        to: ({ get }) => `checkers.interface.${resourceName(get("name") ?? "")}`,
        absent: "on",
        convert: (_, { get }) => {
          const name = get("name");
          if (name === undefined)
            throw new RangeError(
              "an interface is watched by its name, which is not here: write it under checkers.interface",
            );
          return { name, when: "pre", action: "wait" };
        },
        cases: { off: same("no checker of the interface") },
      },
      arpreroute: {
        ...announced,
        cases: { off: same("announced only when it moves") },
      },
      arpinterval: announced,
      arpelapse: announced,
      name: same("the interface of its addresses"),
    },
  },
  "vip/interface/virtual_interface": {
    attributes: {
      type: {
        verdict: "translated",
        to: "loadBalancing.mode",
        convert: choice({ vmac_directed: "directed", vmac_invisible: "invisible" }),
        kinds: ["farm"],
      },
      addr: none("the virtual MAC address is not chosen by hand"),
    },
  },
  "vip/interface/virtual_addr": virtualAddress,
  "vip/interface/virtual_interface/virtual_addr": virtualAddress,
  "vip/group": {
    attributes: {
      name: {
        verdict: "approximated",
        say: "a farm has one list of rules and one set of weights: groups are joined",
      },
    },
  },
  "vip/group/cluster": { attributes: {} },
  "vip/group/cluster/host": {
    key: ({ get }) => get("name") ?? "",
    attributes: {
      name: { verdict: "translated", say: "a node of cluster.yaml", part: true },
      power: {
        verdict: "translated",
        to: "loadBalancing.weights.{}",
        convert: whole,
        cases: Object.fromEntries(
          [64, 128, 192, 256, 4096].map((power) => [
            String(power),
            {
              verdict: "approximated",
              to: "loadBalancing.weights.{}",
              say: "a share by weight; a chain of priorities is loadBalancing.priority",
            } as const,
          ]),
        ),
      },
    },
  },
  "vip/group/rule": {
    list: "loadBalancing.rules",
    key: ({ get }) => (get("proto") === "arp" ? "" : "+"),
    attributes: {
      virtual_addr: {
        verdict: "approximated",
        say: "a rule holds for every virtual address of the module",
        cases: { "*": same("every virtual address") },
      },
      port: {
        verdict: "translated",
        to: "loadBalancing.rules.{}.ports",
        convert: (text) => [text === "*" ? "1-65535" : whole(text)],
        absent: "*",
      },
      proto: {
        verdict: "translated",
        to: "loadBalancing.rules.{}.protocol",
        convert: choice({ tcp: "tcp", udp: "udp" }),
        cases: { arp: none("which node answers is a matter of the mode") },
      },
      filter: {
        verdict: "translated",
        to: "loadBalancing.rules.{}.affinity",
        convert: choice({ on_addr: "client-ip", on_port: "connection", on_ipid: "connection" }),
        cases: {
          on_ipid: {
            verdict: "approximated",
            to: "loadBalancing.rules.{}.affinity",
            say: "packets of one client and port stay together",
          },
        },
      },
    },
  },
};
