/**
 * The network between the testbed's machines: what passes the bridges, and what is cut or lost on the way.
 *
 * Faults are rules on the bridges, where a broken switch would be: a machine does not see that its link is cut.
 */

/** A fault between bridge ports. A port is named `machine-lan`. */
export interface Fault {
  from: string | null;
  to: string | null;
  /** Part of the frames that are lost, 0 to 1. */
  loss: number;
}

/** The nftables text that makes the bridges of the namespace behave as `faults` say; it replaces what was there. */
export function faultRules(faults: readonly Fault[]): string {
  const rules = faults.map(({ from, to, loss }) => {
    const source = from === null ? "" : `iifname "${from}" `;
    const target = to === null ? "" : `oifname "${to}" `;
    const chance = loss >= 1 ? "" : `numgen random mod 1000 < ${Math.round(loss * 1000)} `;
    return `add rule bridge testbed forward ${source}${target}${chance}drop`;
  });
  return [
    "add table bridge testbed",
    "delete table bridge testbed",
    "add table bridge testbed",
    "add chain bridge testbed forward { type filter hook forward priority 0 ; }",
    ...rules,
    "",
  ].join("\n");
}
