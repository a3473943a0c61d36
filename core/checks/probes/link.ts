/** Interfaces and addresses of this node: looked at when the kernel says that something changed, and now and then all the same. */
import { macText, parseCidr } from "../../network/address.ts";
import { Interfaces } from "../../network/interfaces.ts";
import { onLinkChange } from "../../network/link_events.ts";
import { whoHas } from "../../network/neighbours.ts";
import type { Finding } from "../judgement.ts";
import { down, type Probe, up } from "../probe.ts";

/** How long another machine has to say that it has the address too, ms. */
const DUPLICATE_MS = 150;

function withInterfaces<T>(look: (interfaces: Interfaces) => T): T {
  const interfaces = new Interfaces();
  try {
    return look(interfaces);
  } finally {
    interfaces.close();
  }
}

/** What is missing may come at any moment. */
function onChange(notice: () => void, look: () => Promise<Finding>): Probe {
  let isMissing = false;
  return {
    look: async () => {
      const finding = await look();
      isMissing = finding.state === "down";
      return finding;
    },
    close: onLinkChange(notice, () => isMissing),
  };
}

/** Is the interface up, with a carrier, and does it have `address` where one is named? */
export function interfaceProbe(name: string, address: string | undefined, notice: () => void): Probe {
  return onChange(notice, async () =>
    withInterfaces((interfaces) => {
      const link = interfaces.links().find((known) => known.name === name);
      if (!link) return down(`there is no interface ${name}`);
      if (!link.up) return down(`${name} is switched off`);
      if (!link.running) return down(`${name} has no carrier`);
      if (address === undefined) return up();
      const isThere = interfaces.holding(parseCidr(address)).some(({ index }) => index === link.index);
      return isThere ? up() : down(`${name} does not have ${address}`);
    }),
  );
}

/** Does this node have the address, and no other machine but those that may (by their MAC address)? */
export function ipProbe(address: string, mayHave: (mac: string) => boolean, notice: () => void): Probe {
  const wanted = parseCidr(address);
  return onChange(notice, async () => {
    const link = withInterfaces((interfaces) => {
      const [holder] = interfaces.holding(wanted);
      return interfaces.links().find(({ index }) => index === holder?.index);
    });
    if (!link) return down(`${address} is not on this node`);
    const other = await whoHas(link, wanted, DUPLICATE_MS, ({ mac }) => mayHave(macText(mac)));
    return other === null
      ? up(link.name)
      : down(`${address} is on another machine too: ${macText(other.mac)}`);
  });
}
